// ggcr-registry serves go-containerregistry's in-memory registry on loopback, with or without the referrers API.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "loopback address to listen on")
	referrers := flag.Bool("referrers", true, "serve the referrers API")
	flag.Parse()
	quiet := log.New(io.Discard, "", 0)
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("listening on %s, referrers %t", listener.Addr(), *referrers)
	log.Fatal(http.Serve(listener, registry.New(registry.Logger(quiet), registry.WithReferrersSupport(*referrers))))
}

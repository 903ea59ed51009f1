// cosign-library signs images in turn, over and over, with cosign's own packages, as a program that embeds cosign would: the
// key is decrypted once, connections and log-ins are shared by all calls, and each signature is a bundle pushed as a referrer.
// It prints one line of JSON: what was done during the warm-up, and after it: in how much time, with how much CPU.
package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/sigstore/cosign/v3/pkg/cosign"
	cbundle "github.com/sigstore/cosign/v3/pkg/cosign/bundle"
	ociremote "github.com/sigstore/cosign/v3/pkg/oci/remote"
	ctypes "github.com/sigstore/cosign/v3/pkg/types"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {
	keyFile := flag.String("key", "", "cosign.key, ECDSA P-256; its password in COSIGN_PASSWORD")
	lanes := flag.Int("lanes", 16, "signatures under way at once")
	warmup := flag.Float64("warmup", 1, "seconds before the count begins")
	seconds := flag.Float64("seconds", 5, "seconds that are counted")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: cosign-library [options] HOST/REPOSITORY@sha256:DIGEST... (plain http)")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("no image is named")
	}

	key, err := loadKey(*keyFile)
	check(err)
	images := make([]name.Digest, flag.NArg())
	for index, image := range flag.Args() {
		images[index], err = name.NewDigest(image, name.Insecure)
		check(err)
	}
	push, err := registryOptions()
	check(err)
	noServices, err := root.NewSigningConfig(root.SigningConfigMediaType02, nil, nil, nil, root.ServiceConfiguration{}, nil, root.ServiceConfiguration{})
	check(err)

	var done atomic.Int64
	loop := func(until time.Time) {
		var group sync.WaitGroup
		for range *lanes {
			group.Go(func() {
				for time.Now().Before(until) {
					count := done.Add(1)
					image := images[count%int64(len(images))]
					check(signAndPush(image, key, noServices, push, fmt.Sprint(count)))
				}
			})
		}
		group.Wait()
	}
	loop(time.Now().Add(time.Duration(*warmup * float64(time.Second))))
	before, cpuBefore, start := done.Load(), cpuSeconds(), time.Now()
	loop(start.Add(time.Duration(*seconds * float64(time.Second))))
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"signatures": done.Load() - before,
		"warmup":     before,
		"seconds":    time.Since(start).Seconds(),
		"cpuSeconds": cpuSeconds() - cpuBefore,
	}))
}

// As `cosign sign --key` does for a bundle: an in-toto statement with an empty predicate. The count is an annotation, so that
// no two signatures are equal.
func signAndPush(digest name.Digest, key sign.Keypair, services *root.SigningConfig, push []ociremote.Option, count string) error {
	annotations, err := structpb.NewStruct(map[string]any{"count": count})
	if err != nil {
		return err
	}
	payload, err := protojson.Marshal(&intoto.Statement{
		Type:          intoto.StatementTypeUri,
		Subject:       []*intoto.ResourceDescriptor{{Digest: map[string]string{"sha256": digest.DigestStr()[len("sha256:"):]}, Annotations: annotations}},
		PredicateType: ctypes.CosignSignPredicateType,
		Predicate:     &structpb.Struct{},
	})
	if err != nil {
		return err
	}
	content := &sign.DSSEData{Data: payload, PayloadType: ctypes.IntotoPayloadType}
	bundle, err := cbundle.SignData(context.Background(), content, key, "", nil, nil, services, nil, cbundle.SignOptions{})
	if err != nil {
		return err
	}
	return ociremote.WriteAttestationNewBundleFormat(digest, bundle, ctypes.CosignSignPredicateType, push...)
}

// The options that cosign's own commands use, made once: one pusher and one puller for all calls.
func registryOptions() ([]ociremote.Option, error) {
	options := []remote.Option{remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(options...)
	if err != nil {
		return nil, err
	}
	options = append(options, remote.Reuse(pusher), remote.Reuse(puller))
	return []ociremote.Option{ociremote.WithRemoteOptions(options...), ociremote.WithNameOptions(name.Insecure)}, nil
}

// keypair is a signer of cosign's as sigstore-go wants it.
type keypair struct {
	signature.SignerVerifier
	public crypto.PublicKey
	pem    string
	hint   []byte
}

func loadKey(file string) (*keypair, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	signer, err := cosign.LoadPrivateKey(content, []byte(os.Getenv("COSIGN_PASSWORD")), nil)
	if err != nil {
		return nil, err
	}
	public, err := signer.PublicKey()
	if err != nil {
		return nil, err
	}
	pem, err := cryptoutils.MarshalPublicKeyToPEM(public)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	hint := sha256.Sum256(der)
	return &keypair{signer, public, string(pem), []byte(base64.StdEncoding.EncodeToString(hint[:]))}, nil
}

func (k *keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	return protocommon.HashAlgorithm_SHA2_256
}
func (k *keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256
}
func (k *keypair) GetHint() []byte                  { return k.hint }
func (k *keypair) GetKeyAlgorithm() string          { return "ECDSA" }
func (k *keypair) GetPublicKey() crypto.PublicKey   { return k.public }
func (k *keypair) GetPublicKeyPem() (string, error) { return k.pem, nil }
func (k *keypair) SignData(_ context.Context, data []byte) ([]byte, []byte, error) {
	digest := sha256.Sum256(data)
	signed, err := k.SignMessage(bytes.NewReader(data))
	return signed, digest[:], err
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

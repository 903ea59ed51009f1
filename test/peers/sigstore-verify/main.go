// sigstore-verify checks a Sigstore bundle with a public key, by sigstore-go: no transparency log, no timestamps.
// Exit status: 0 verified, 1 refused, 2 could not check (wrong arguments, unreadable file).
package main

import (
	"crypto"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

var hashes = map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

func main() {
	bundlePath := flag.String("bundle", "", "Sigstore bundle (JSON)")
	keyPath := flag.String("key", "", "public key (PEM)")
	artifactPath := flag.String("artifact", "", "file that was signed")
	digest := flag.String("digest", "", "digest that was signed, as sha256:HEX")
	hash := flag.String("hash", "", "hash of the signature (sha256, sha384, sha512) instead of the key's own")
	prehash := flag.Bool("ed25519ph", false, "take an Ed25519 signature for Ed25519ph")
	flag.Parse()
	if *bundlePath == "" || *keyPath == "" || (*artifactPath == "") == (*digest == "") || flag.NArg() > 0 {
		quit(2, "usage: sigstore-verify --bundle F --key PUB.pem (--artifact F | --digest sha256:HEX) [--hash H] [--ed25519ph]")
	}

	trusted, err := trust(*keyPath, *hash, *prehash)
	if err != nil {
		quit(2, "key: %v", err)
	}
	subject, err := subjectOf(*artifactPath, *digest)
	if err != nil {
		quit(2, "subject: %v", err)
	}
	document, err := os.ReadFile(*bundlePath)
	if err != nil {
		quit(2, "bundle: %v", err)
	}

	signed := new(bundle.Bundle)
	if err := signed.UnmarshalJSON(document); err != nil {
		quit(1, "refused: bundle: %v", err)
	}
	verifier, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		quit(2, "verifier: %v", err)
	}
	result, err := verifier.Verify(signed, verify.NewPolicy(subject, verify.WithKey()))
	if err != nil {
		quit(1, "refused: %v", err)
	}
	kind := "message signature"
	if result.Statement != nil {
		kind = "attestation of " + result.Statement.GetPredicateType()
	}
	quit(0, "verified: %s", kind)
}

func trust(path, hash string, prehash bool) (root.TrustedMaterial, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(document)
	if err != nil {
		return nil, err
	}
	var choices []signature.LoadOption
	if prehash {
		choices = append(choices, options.WithED25519ph())
	}
	load := signature.LoadDefaultVerifier
	if hash != "" {
		if hashes[hash] == 0 {
			return nil, fmt.Errorf("unknown hash %q", hash)
		}
		choices = append(choices, options.WithHash(hashes[hash]))
		load = signature.LoadVerifierWithOpts
	}
	verifier, err := load(key, choices...)
	if err != nil {
		return nil, err
	}
	always := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	return root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return always, nil }), nil
}

func subjectOf(path, digest string) (verify.ArtifactPolicyOption, error) {
	if path != "" {
		artifact, err := os.Open(path)
		return verify.WithArtifact(artifact), err
	}
	algorithm, text, _ := strings.Cut(digest, ":")
	value, err := hex.DecodeString(text)
	if err == nil && (hashes[algorithm] == 0 || len(value) != hashes[algorithm].Size()) {
		err = fmt.Errorf("not a digest: %q", digest)
	}
	return verify.WithArtifactDigest(algorithm, value), err
}

func quit(status int, format string, values ...any) {
	out := os.Stdout
	if status != 0 {
		out = os.Stderr
	}
	fmt.Fprintf(out, format+"\n", values...)
	os.Exit(status)
}

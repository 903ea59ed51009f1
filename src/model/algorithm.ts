/**
 * The signature algorithms that keys may have; names are those of sigstore's `PublicKeyDetails`, in short form.
 * ECDSA signatures are ASN.1 DER (`SEQUENCE { r, s }`), RSA signatures the modulus' length, Ed25519 64 bytes (pure).
 */
export type AlgorithmName =
  | 'ecdsa-p256-sha256'
  | 'ecdsa-p384-sha384'
  | 'ecdsa-p521-sha512'
  | `rsa-${'pkcs1v15' | 'pss'}-${2048 | 3072 | 4096}-${'sha256' | 'sha384' | 'sha512'}`
  | 'ed25519';

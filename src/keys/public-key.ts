import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { readPem, writePem } from '../codec/pem.ts';
import { readSpki, spkiHint, spkiOf } from '../codec/spki.ts';
import { CountersignError, invalidArgument } from '../model/error.ts';
import type { KeyVersion } from '../model/signature.ts';
import { algorithmOf, algorithms, type RsaScheme } from './algorithms.ts';

/** The parts of a KeyVersion that follow from a public key alone. */
export type PublicKey = Pick<KeyVersion, 'algorithm' | 'spki' | 'hint'>;

/** Longest PEM that a caller may send, in characters: RSA-4096 takes 800. */
const maxPublicKeyPem = 16 * 1024;

/** What is known of a parsed public key. Throws `failed_precondition`, `KEY_UNSUPPORTED`, as `algorithmOf`. */
export const publicKeyOf = (key: KeyObject, rsa: RsaScheme = {}): PublicKey => {
  const algorithm = algorithmOf(key, rsa);
  const spki = spkiOf(key);
  return { algorithm, spki, hint: spkiHint(spki) };
};

/** SubjectPublicKeyInfo -> PEM with label `PUBLIC KEY`, as `cosign verify --key` reads it. */
export const publicKeyPem = (spki: Uint8Array): string => writePem('PUBLIC KEY', spki);

/** The public key as a JWK (RFC 7517, RFC 8037) with `use`, `alg` and, as `kid`, the base64 hint. */
export const publicKeyJwk = (key: PublicKey): JsonWebKey & { readonly alg: string; readonly kid: string } => ({
  ...createPublicKey({ key: Buffer.from(key.spki), format: 'der', type: 'spki' }).export({ format: 'jwk' }),
  use: 'sig',
  alg: algorithms[key.algorithm].jwa,
  kid: key.hint,
});

const readPkcs1 = (bytes: Buffer): KeyObject | undefined => {
  try {
    return createPublicKey({ key: bytes, format: 'der', type: 'pkcs1' });
  } catch {
    return undefined;
  }
};

/** PEM texts that were read before, least recently used first; reading one takes longer than verifying with it. */
const readBefore = new Map<string, PublicKey>();
const maxReadBefore = 256;

/**
 * Reads the PEM public key that a caller brings (`PUBLIC KEY`, or `RSA PUBLIC KEY`); one block, at most 16 KiB. `field` is
 * its path in the request. Throws `invalid_argument` for anything else, with its own words for a private key.
 */
export const parsePublicKeyPem = (pem: string, field = 'pem'): PublicKey => {
  const publicKey = readBefore.get(pem) ?? readPublicKeyPem(pem, field);
  readBefore.delete(pem);
  readBefore.set(pem, publicKey);
  if (readBefore.size > maxReadBefore) readBefore.delete(readBefore.keys().next().value ?? '');
  return publicKey;
};

const readPublicKeyPem = (pem: string, field: string): PublicKey => {
  const refuse = (description: string): CountersignError => invalidArgument([{ field, description }]);
  if (/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(pem.slice(0, maxPublicKeyPem))) {
    throw refuse('this is a private key: keep it secret, treat it as leaked, and send only the public key');
  }
  if (pem.includes('-----BEGIN CERTIFICATE-----')) {
    throw refuse('this is a certificate; send its public key (openssl x509 -pubkey -noout)');
  }
  const block = readPem(pem, ['PUBLIC KEY', 'RSA PUBLIC KEY'], maxPublicKeyPem);
  if ('problem' in block) throw refuse(`must be a PEM public key, but it ${block.problem}`);
  const key = block.label === 'PUBLIC KEY' ? readSpki(block.bytes) : readPkcs1(block.bytes);
  if (key === undefined) throw refuse('holds a PEM block that is not a public key in DER');
  try {
    return publicKeyOf(key);
  } catch (caught) {
    throw caught instanceof CountersignError ? refuse(caught.message) : caught;
  }
};

import { constants, type KeyObject, publicDecrypt, type VerifyKeyObjectInput, verify } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { ecdsaDerToRaw } from '../codec/ecdsa.ts';
import { readSpki } from '../codec/spki.ts';
import type { AlgorithmName } from '../model/algorithm.ts';
import { CountersignError } from '../model/error.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';
import { type Algorithm, type EcAlgorithm, type RsaAlgorithm, algorithms, assertSignable } from './algorithms.ts';
import { verifyOffLoop } from './crypto-thread.ts';
import { checkPss, encodePkcs1 } from './rsa-encoding.ts';

/** The public key that a signature is checked with: as a KeyVersion has it, or already parsed. */
export type VerifyingKey =
  | Pick<KeyVersion, 'algorithm' | 'spki'>
  | { readonly algorithm: AlgorithmName; readonly keyObject: KeyObject };

/** Parsed keys by their SubjectPublicKeyInfo, least recently used first; bounded, since callers bring keys too. */
const parsed = new Map<string, KeyObject>();
const maxParsed = 1024;

const keyObjectOf = (spki: Uint8Array): KeyObject => {
  const id = Buffer.from(spki.buffer, spki.byteOffset, spki.byteLength).toString('latin1');
  const known = parsed.get(id);
  const key = known ?? readSpki(spki);
  if (key === undefined) {
    throw new CountersignError(
      'failed_precondition',
      'KEY_UNSUPPORTED',
      'The public key is not a canonical SPKI in DER.',
    );
  }
  parsed.delete(id);
  parsed.set(id, key);
  if (parsed.size > maxParsed) parsed.delete(parsed.keys().next().value ?? '');
  return key;
};

/** What node:crypto's `verify` wants as key. The bare key where it will do: wrapping one costs 10 us a call. */
const verifyInput = (algorithm: Algorithm, key: KeyObject): KeyObject | VerifyKeyObjectInput =>
  algorithm.type === 'rsa' && algorithm.padding === 'pss'
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : key;

/**
 * OpenSSL reads r and s more loosely than DER allows, so the strict reader goes first; and of a PSS signature that begins with a
 * zero byte it takes one without it, which RFC 8017 section 8.1.2 does not.
 */
const wellFormed = (algorithm: Algorithm, signature: Uint8Array): boolean => {
  if (algorithm.type === 'ec') return ecdsaDerToRaw(signature, algorithm.curve) !== undefined;
  return algorithm.type !== 'rsa' || signature.length === algorithm.modulusBits / 8;
};

/** node:crypto has no verification over a digest: RSA is opened and compared, ECDSA computed by @noble/curves (ms, not us). */
const verifyRsaDigest = (
  algorithm: RsaAlgorithm,
  key: KeyObject,
  digest: Uint8Array,
  signature: Uint8Array,
): boolean => {
  if (signature.length !== algorithm.modulusBits / 8) return false;
  let encoded: Buffer;
  try {
    encoded = publicDecrypt({ key, padding: constants.RSA_NO_PADDING }, signature);
  } catch {
    return false;
  }
  return algorithm.padding === 'pss'
    ? checkPss(encoded, digest, algorithm.modulusBits)
    : encoded.equals(encodePkcs1(digest, algorithm.modulusBits));
};

const verifyEcDigest = (algorithm: EcAlgorithm, key: KeyObject, digest: Uint8Array, signature: Uint8Array): boolean => {
  const raw = ecdsaDerToRaw(signature, algorithm.curve);
  if (raw === undefined) return false;
  const point = key.export({ type: 'spki', format: 'der' }).subarray(-65);
  return p256.verify(raw, digest, point, { prehash: false, lowS: false });
};

/**
 * Is `signature` one over `toSign` by this key? ECDSA in DER (high s accepted, as cosign makes them), RSA of the modulus'
 * length, PSS with a salt of the hash's length, Ed25519 64 bytes. False for anything malformed. Throws
 * `failed_precondition`, reason `DIGEST_NOT_SUPPORTED`, for a bare digest that the algorithm cannot take (the content is
 * then needed), and `KEY_UNSUPPORTED` for bytes that are no public key. Synchronous; parsed keys are kept.
 */
export const verifySignature = (version: VerifyingKey, toSign: ToSign, signature: Uint8Array): boolean => {
  assertSignable(version.algorithm, toSign.kind);
  const algorithm = algorithms[version.algorithm];
  const key = 'keyObject' in version ? version.keyObject : keyObjectOf(version.spki);
  if (key.asymmetricKeyType !== algorithm.type) return false;
  if (toSign.kind === 'message') {
    return (
      wellFormed(algorithm, signature) &&
      verify(algorithm.hash ?? null, toSign.message, verifyInput(algorithm, key), signature)
    );
  }
  if (toSign.digest.length !== 32) return false;
  if (algorithm.type === 'rsa') return verifyRsaDigest(algorithm, key, toSign.digest, signature);
  return algorithm.type === 'ec' && verifyEcDigest(algorithm, key, toSign.digest, signature);
};

/** Does a verification take less than 0.1 ms? P-384 and P-521 take several times as long. */
export const isQuicklyVerified = (name: AlgorithmName): boolean => {
  const algorithm = algorithms[name];
  return algorithm.type !== 'ec' || algorithm.curve === 'P-256';
};

/**
 * As `verifySignature`, but for a message the computation runs off the event loop, so that other requests go on: a
 * verification takes longer than all the rest of a signature by a local P-256 key. Throws at once what `verifySignature` throws.
 */
export const verifySignatureInBackground = (
  version: VerifyingKey,
  toSign: ToSign,
  signature: Uint8Array,
): Promise<boolean> => {
  const algorithm = algorithms[version.algorithm];
  const key = 'keyObject' in version ? version.keyObject : keyObjectOf(version.spki);
  if (toSign.kind !== 'message' || key.asymmetricKeyType !== algorithm.type) {
    return Promise.resolve(verifySignature(version, toSign, signature));
  }
  if (!wellFormed(algorithm, signature)) return Promise.resolve(false);
  return verifyOffLoop(algorithm, verifyInput(algorithm, key), toSign.message, signature);
};

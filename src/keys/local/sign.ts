import { constants, type KeyObject, privateEncrypt, type SignKeyObjectInput } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { ecdsaRawToDer } from '../../codec/ecdsa.ts';
import { CountersignError } from '../../model/error.ts';
import type { ToSign } from '../../model/signature.ts';
import { type Algorithm, assertSignable, type RsaAlgorithm } from '../algorithms.ts';
import { signOffLoop } from '../crypto-thread.ts';
import { encodePkcs1, encodePss } from '../rsa-encoding.ts';

/** What node:crypto's `sign` wants as key. The bare key where it will do: wrapping one costs 10 us a call. */
const signInput = (algorithm: Algorithm, key: KeyObject): KeyObject | SignKeyObjectInput => {
  if (algorithm.type !== 'rsa') return key;
  return algorithm.padding === 'pss'
    ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
    : { key, padding: constants.RSA_PKCS1_PADDING };
};

/** node:crypto signs digests with RSA only as raw decryption, which is synchronous: digest mode is the rare one. */
const signRsaDigest = (algorithm: RsaAlgorithm, key: KeyObject, digest: Uint8Array): Buffer => {
  const encode = algorithm.padding === 'pss' ? encodePss : encodePkcs1;
  return privateEncrypt({ key, padding: constants.RSA_NO_PADDING }, encode(digest, algorithm.modulusBits));
};

/** node:crypto cannot sign a digest with ECDSA. The scalar leaves the KeyObject only for this call. */
const signEcDigest = (key: KeyObject, digest: Uint8Array): Buffer => {
  const scalar = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  try {
    const der = ecdsaRawToDer(p256.sign(digest, scalar, { prehash: false, lowS: false }), 'P-256');
    if (der === undefined)
      throw new CountersignError('internal', 'INTERNAL', 'The local key made a malformed signature.');
    return der;
  } finally {
    scalar.fill(0);
  }
};

const signDigest = async (algorithm: Algorithm, key: KeyObject, digest: Uint8Array): Promise<Buffer> => {
  assertSignable(algorithm.name, 'digest');
  return algorithm.type === 'rsa' ? signRsaDigest(algorithm, key, digest) : signEcDigest(key, digest);
};

/**
 * Signs with a private key in this process, as `model/algorithm.ts` says. A message is signed off the event loop, so that
 * other requests go on: P-256 takes 20 us there, RSA-4096 5 ms. Rejects with `DIGEST_NOT_SUPPORTED` as `assertSignable`.
 */
export const signLocally = (algorithm: Algorithm, key: KeyObject, toSign: ToSign): Promise<Buffer> =>
  toSign.kind === 'message'
    ? signOffLoop(algorithm, signInput(algorithm, key), toSign.message)
    : signDigest(algorithm, key, toSign.digest);

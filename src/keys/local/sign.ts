import { constants, type KeyObject, privateEncrypt, sign } from 'node:crypto';
import { p256 } from '@noble/curves/nist.js';
import { ecdsaRawToDer } from '../../codec/ecdsa.ts';
import { CountersignError } from '../../model/error.ts';
import type { ToSign } from '../../model/signature.ts';
import { type Algorithm, assertSignable, type RsaAlgorithm } from '../algorithms.ts';
import { encodePkcs1, encodePss } from '../rsa-encoding.ts';

const signRsaMessage = (algorithm: RsaAlgorithm, key: KeyObject, message: Uint8Array): Promise<Buffer> => {
  const input =
    algorithm.padding === 'pss'
      ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
      : { key, padding: constants.RSA_PKCS1_PADDING };
  // RSA-4096 takes 5 ms of CPU: with a callback it runs on a thread of the pool and the loop goes on.
  return new Promise((resolve, reject) => {
    sign(algorithm.hash, message, input, (error, signature) => (error === null ? resolve(signature) : reject(error)));
  });
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

/**
 * Signs with a private key in this process, as `model/algorithm.ts` says. ECDSA and Ed25519 on the calling thread (40 us),
 * RSA messages on the thread pool. Throws `DIGEST_NOT_SUPPORTED` as `assertSignable`.
 */
export const signLocally = async (algorithm: Algorithm, key: KeyObject, toSign: ToSign): Promise<Buffer> => {
  assertSignable(algorithm.name, toSign.kind);
  if (toSign.kind === 'message') {
    if (algorithm.type === 'rsa') return signRsaMessage(algorithm, key, toSign.message);
    return sign(algorithm.hash ?? null, toSign.message, key);
  }
  return algorithm.type === 'rsa' ? signRsaDigest(algorithm, key, toSign.digest) : signEcDigest(key, toSign.digest);
};

import { createPublicKey, verify } from 'node:crypto';
import { ed25519ph } from '@noble/curves/ed25519.js';
import { ecdsaDerToRaw } from '../codec/ecdsa.ts';
import { algorithms } from '../keys/algorithms.ts';
import { verifySignature } from '../keys/verify-signature.ts';
import type { ToSign } from '../model/signature.ts';
import type { VerificationKey } from './question.ts';

/**
 * Is this a signature by the key? As the key's algorithm, or one of its others, says; and as cosign makes them besides: with
 * SHA-256 for ECDSA P-384 and P-521 (its tag layout, up to 3.1), and Ed25519ph (3.x, images). All are distinct from what the
 * algorithm says, so none can stand for another message.
 *
 * @throws failed_precondition `DIGEST_NOT_SUPPORTED` when only the content of the blob could tell.
 */
export const verifyAsCosign = (key: VerificationKey, toSign: ToSign, signature: Uint8Array): boolean => {
  if (verifySignature(key, toSign, signature)) return true;
  const { otherAlgorithms = [], spki } = key;
  for (const algorithm of otherAlgorithms) {
    const fits = toSign.kind === 'message' || algorithms[algorithm].hash === 'sha256';
    if (fits && verifySignature({ algorithm, spki }, toSign, signature)) return true;
  }
  if (toSign.kind !== 'message') return false;
  return key.algorithm === 'ed25519'
    ? verifyPrehashed(key, toSign.message, signature)
    : verifyWithSha256(key, toSign.message, signature);
};

/** sigstore's PKIX_ECDSA_P384_SHA_256 and PKIX_ECDSA_P521_SHA_256, deprecated there. */
const verifyWithSha256 = (key: VerificationKey, message: Uint8Array, signature: Uint8Array): boolean => {
  const algorithm = algorithms[key.algorithm];
  if (algorithm.type !== 'ec' || algorithm.hash === 'sha256') return false;
  if (ecdsaDerToRaw(signature, algorithm.curve) === undefined) return false;
  const publicKey = createPublicKey({ key: Buffer.from(key.spki), format: 'der', type: 'spki' });
  return (
    publicKey.asymmetricKeyDetails?.namedCurve === algorithm.namedCurve &&
    verify('sha256', message, publicKey, signature)
  );
};

/** Ed25519ph (RFC 8032 section 5.1), sigstore's PKIX_ED25519_PH; node:crypto does not have it. */
const verifyPrehashed = (key: VerificationKey, message: Uint8Array, signature: Uint8Array): boolean => {
  if (signature.length !== 64) return false;
  try {
    return ed25519ph.verify(signature, message, key.spki.subarray(-32), { zip215: false });
  } catch {
    return false;
  }
};

import type { KeyObject } from 'node:crypto';
import { p256, p384, p521 } from '@noble/curves/nist.js';
import { ecdsaRawToDer } from '../../src/codec/ecdsa.ts';

const curves = { prime256v1: ['P-256', p256], secp384r1: ['P-384', p384], secp521r1: ['P-521', p521] } as const;

/** ECDSA over a digest, for any curve, DER; node:crypto cannot. */
export const signDigest = (key: KeyObject, digest: Uint8Array): Buffer => {
  const named = key.asymmetricKeyDetails?.namedCurve ?? '';
  const [name, curve] = curves[named as keyof typeof curves];
  const scalar = Buffer.from(key.export({ format: 'jwk' }).d ?? '', 'base64url');
  const der = ecdsaRawToDer(curve.sign(digest, scalar, { prehash: false, lowS: false }), name);
  if (der === undefined) throw new Error('noble made a malformed signature');
  return der;
};

import { createPublicKey, type KeyObject } from 'node:crypto';
import { isJsonObject, type JsonObject, parseStrictJson } from '../codec/strict-json.ts';

/** One public key of an issuer, fit to verify tokens. */
export type VerificationKey = {
  readonly keyId: string;
  /** `alg` of the JWK, when it says one. */
  readonly algorithm: string | undefined;
  readonly publicKey: KeyObject;
};

/** An issuer's keys: by `kid`, since two key types may share one. */
export type KeySet = ReadonlyMap<string, readonly VerificationKey[]>;

/** The longest JWKS that is read, in bytes. */
export const maxKeySetBytes = 256 * 1024;
const maxKeys = 100;
const minRsaBits = 2048;
const maxRsaBits = 8192;

const curves: Readonly<Record<string, string>> = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };

/** Can this key verify a token with this `alg` (RFC 7518 section 3.1, RFC 8037 section 3.1)? */
export const fitsAlgorithm = ({ algorithm, publicKey }: VerificationKey, alg: string): boolean => {
  if (algorithm !== undefined && algorithm !== alg) return false;
  if (alg.startsWith('RS') || alg.startsWith('PS')) return publicKey.asymmetricKeyType === 'rsa';
  if (alg.startsWith('ES')) return publicKey.asymmetricKeyDetails?.namedCurve === curves[alg];
  return alg === 'EdDSA' && publicKey.asymmetricKeyType === 'ed25519';
};

/** The key, or undefined when it is not for verifying signatures or too weak: such keys are passed over, not an error. */
const readKey = (jwk: JsonObject): VerificationKey | undefined => {
  const { kid, alg, use, key_ops: operations } = jwk;
  if (typeof kid !== 'string' || kid === '' || kid.length > 512) return undefined;
  if (use !== undefined && use !== 'sig') return undefined;
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes('verify'))) return undefined;
  // A published private key is anybody's key.
  if (Object.hasOwn(jwk, 'd') || (jwk.kty !== 'RSA' && jwk.kty !== 'EC' && jwk.kty !== 'OKP')) return undefined;
  let publicKey: KeyObject;
  try {
    publicKey = createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return undefined;
  }
  const { modulusLength, publicExponent } = publicKey.asymmetricKeyDetails ?? {};
  if (publicKey.asymmetricKeyType === 'rsa') {
    if (modulusLength === undefined || modulusLength < minRsaBits || modulusLength > maxRsaBits) return undefined;
    // An exponent of 1 makes every signature valid.
    if (publicExponent === undefined || publicExponent < 3n || publicExponent % 2n === 0n) return undefined;
  }
  return { keyId: kid, algorithm: typeof alg === 'string' ? alg : undefined, publicKey };
};

/**
 * Parses a JWK Set (RFC 7517 section 5): at most 256 KiB and 100 keys. Throws an Error that says why it is unusable, also when
 * no key in it can verify. Keys that equal one of `previous` are kept as the same objects.
 */
export const parseKeySet = (bytes: Uint8Array, previous?: KeySet): KeySet => {
  const value = parseStrictJson(bytes, { maxBytes: maxKeySetBytes, maxDepth: 8, maxKeys: 64 });
  if (!isJsonObject(value) || !Array.isArray(value.keys)) throw new Error('not a JWK set: it has no "keys"');
  if (value.keys.length > maxKeys) throw new Error(`the JWK set has more than ${maxKeys} keys`);
  const keys = new Map<string, VerificationKey[]>();
  for (const jwk of value.keys) {
    const read = isJsonObject(jwk) ? readKey(jwk) : undefined;
    if (read === undefined) continue;
    const same = previous
      ?.get(read.keyId)
      ?.find((old) => old.algorithm === read.algorithm && old.publicKey.equals(read.publicKey));
    keys.set(read.keyId, [...(keys.get(read.keyId) ?? []), same ?? read]);
  }
  if (keys.size === 0)
    throw new Error('the JWK set has no key that can verify: RSA of 2048 bits or more, EC or Ed25519, with a kid');
  return keys;
};

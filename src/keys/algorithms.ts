import type { KeyObject } from 'node:crypto';
import type { EcdsaCurve } from '../codec/ecdsa.ts';
import type { AlgorithmName } from '../model/algorithm.ts';
import { CountersignError } from '../model/error.ts';

export type RsaPadding = 'pkcs1v15' | 'pss';
export type RsaHash = 'sha256' | 'sha384' | 'sha512';

/** How an RSA key signs: the key does not say. Defaults: PKCS#1 v1.5 with SHA-256, as cosign. */
export type RsaScheme = { readonly padding?: RsaPadding | undefined; readonly hash?: RsaHash | undefined };

/** As the settings of a key have it. */
export const rsaSchemeOf = (settings: {
  readonly rsaPadding?: RsaPadding | undefined;
  readonly rsaHash?: RsaHash | undefined;
}): RsaScheme => ({ padding: settings.rsaPadding, hash: settings.rsaHash });

/** How Vault's transit engine names the key and what a sign request must say (`sign/<key>/<hash>`). */
type VaultNames = { readonly type: string; readonly hash: 'sha2-256' | 'sha2-384' | 'sha2-512' | undefined };

type Common = { readonly name: AlgorithmName; readonly vault: VaultNames /** JWA name */; readonly jwa: string };
export type EcAlgorithm = Common & {
  readonly type: 'ec';
  readonly curve: EcdsaCurve;
  /** What OpenSSL calls the curve. */
  readonly namedCurve: string;
  /** Bytes of the SubjectPublicKeyInfo with an uncompressed point. */
  readonly spkiBytes: number;
  readonly hash: 'sha256' | 'sha384' | 'sha512';
};
export type RsaAlgorithm = Common & {
  readonly type: 'rsa';
  readonly modulusBits: number;
  /** PSS uses MGF1 with the same hash and a salt of the hash's length. */
  readonly padding: RsaPadding;
  readonly hash: RsaHash;
};
export type Ed25519Algorithm = Common & { readonly type: 'ed25519'; readonly hash: undefined };
export type Algorithm = EcAlgorithm | RsaAlgorithm | Ed25519Algorithm;

const ec = (
  name: AlgorithmName,
  curve: EcdsaCurve,
  namedCurve: string,
  spkiBytes: number,
  hash: EcAlgorithm['hash'],
  vault: VaultNames,
  jwa: string,
): EcAlgorithm => ({ name, type: 'ec', curve, namedCurve, spkiBytes, hash, vault, jwa });

type RsaName = Extract<AlgorithmName, `rsa-${string}`>;
type RsaBits = 2048 | 3072 | 4096;

const rsaNameOf = (padding: RsaPadding, modulusBits: RsaBits, hash: RsaHash): RsaName =>
  `rsa-${padding}-${modulusBits}-${hash}`;

const vaultHashes = { sha256: 'sha2-256', sha384: 'sha2-384', sha512: 'sha2-512' } as const;

const rsa = (padding: RsaPadding, modulusBits: RsaBits, hash: RsaHash): RsaAlgorithm => ({
  name: rsaNameOf(padding, modulusBits, hash),
  type: 'rsa',
  modulusBits,
  padding,
  hash,
  vault: { type: `rsa-${modulusBits}`, hash: vaultHashes[hash] },
  jwa: `${padding === 'pss' ? 'PS' : 'RS'}${hash.slice(3)}`,
});

const rsaBits = [2048, 3072, 4096] as const;
const rsaHashes = ['sha256', 'sha384', 'sha512'] as const;
const rsaRows = Object.fromEntries(
  (['pkcs1v15', 'pss'] as const).flatMap((padding) =>
    rsaBits.flatMap((bits) => rsaHashes.map((hash) => [rsaNameOf(padding, bits, hash), rsa(padding, bits, hash)])),
  ),
) as Record<RsaName, RsaAlgorithm>;

const rows: Readonly<Record<AlgorithmName, Algorithm>> = {
  'ecdsa-p256-sha256': ec(
    'ecdsa-p256-sha256',
    'P-256',
    'prime256v1',
    91,
    'sha256',
    { type: 'ecdsa-p256', hash: 'sha2-256' },
    'ES256',
  ),
  'ecdsa-p384-sha384': ec(
    'ecdsa-p384-sha384',
    'P-384',
    'secp384r1',
    120,
    'sha384',
    { type: 'ecdsa-p384', hash: 'sha2-384' },
    'ES384',
  ),
  'ecdsa-p521-sha512': ec(
    'ecdsa-p521-sha512',
    'P-521',
    'secp521r1',
    158,
    'sha512',
    { type: 'ecdsa-p521', hash: 'sha2-512' },
    'ES512',
  ),
  ...rsaRows,
  ed25519: {
    name: 'ed25519',
    type: 'ed25519',
    hash: undefined,
    vault: { type: 'ed25519', hash: undefined },
    jwa: 'EdDSA',
  },
};

/** One row for each AlgorithmName; a null-prototype table, so that no name is inherited. */
export const algorithms: Readonly<Record<AlgorithmName, Algorithm>> = Object.freeze(
  Object.assign(Object.create(null), rows),
);

const unsupported = (what: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'KEY_UNSUPPORTED',
    `${what}. Supported are ECDSA P-256, P-384 and P-521, RSA of 2048, 3072 or 4096 bits with exponent 65537, and Ed25519.`,
  );

const ecName = (publicKey: KeyObject): AlgorithmName => {
  const curve = publicKey.asymmetricKeyDetails?.namedCurve;
  const row = Object.values(algorithms).find((each) => each.type === 'ec' && each.namedCurve === curve);
  if (row?.type !== 'ec') {
    throw unsupported(`The curve ${curve ?? '(explicit parameters)'} is not supported: cosign and Sigstore refuse it`);
  }
  if (publicKey.export({ type: 'spki', format: 'der' }).length !== row.spkiBytes) {
    throw unsupported('The public key is a compressed point, which cosign cannot read');
  }
  return row.name;
};

const rsaName = (publicKey: KeyObject, { padding = 'pkcs1v15', hash = 'sha256' }: RsaScheme): AlgorithmName => {
  const { modulusLength, publicExponent } = publicKey.asymmetricKeyDetails ?? {};
  const bits = rsaBits.find((each) => each === modulusLength);
  if (bits === undefined) throw unsupported(`An RSA key of ${modulusLength} bits is not supported`);
  if (publicExponent !== 65537n)
    throw unsupported(`An RSA key with public exponent ${publicExponent} is not supported`);
  return rsaNameOf(padding, bits, hash);
};

/**
 * The algorithm that a public key signs with. The hash follows from the key, as in cosign: P-384 means SHA-384, P-521
 * SHA-512, everything RSA SHA-256 unless told otherwise, as the padding is (default PKCS#1 v1.5): a key does not say them.
 * Throws `failed_precondition`, reason `KEY_UNSUPPORTED`, that says why.
 */
export const algorithmOf = (publicKey: KeyObject, scheme: RsaScheme = {}): AlgorithmName => {
  const type = publicKey.asymmetricKeyType;
  if (type === 'ec') return ecName(publicKey);
  if (type === 'rsa') return rsaName(publicKey, scheme);
  if (type === 'ed25519') return 'ed25519';
  throw unsupported(`A key of type ${type} is not supported`);
};

/** The same RSA key with every other padding and hash, since a key does not say them; none for what is not RSA. */
export const otherRsaSchemes = (name: AlgorithmName): readonly AlgorithmName[] => {
  const one = algorithms[name];
  if (one.type !== 'rsa') return [];
  return Object.values(rsaRows)
    .filter((row) => row.modulusBits === one.modulusBits && row.name !== name)
    .map((row) => row.name);
};

/**
 * Throws unless a key of this algorithm can sign (and verify) what is asked: a bare SHA-256 digest fits only where the
 * algorithm hashes with SHA-256. `failed_precondition`, reason `DIGEST_NOT_SUPPORTED`; the fix is to send the content.
 */
export const assertSignable = (name: AlgorithmName, kind: 'message' | 'digest'): void => {
  if (kind === 'message' || algorithms[name].hash === 'sha256') return;
  const why =
    name === 'ed25519'
      ? 'Ed25519 signs whole messages, never digests'
      : `a key of algorithm ${name} hashes with ${algorithms[name].hash}, so a SHA-256 digest cannot stand for the content`;
  throw new CountersignError(
    'failed_precondition',
    'DIGEST_NOT_SUPPORTED',
    `This key cannot sign a bare SHA-256 digest: ${why}. Send the content instead of its digest.`,
  );
};

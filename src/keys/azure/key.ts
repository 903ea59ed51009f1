import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { decodeBase64Url } from '../../codec/base64.ts';
import { type EcdsaCurve, ecdsaRawToDer } from '../../codec/ecdsa.ts';
import { CountersignError } from '../../model/error.ts';
import type { KeyVersion, ToSign } from '../../model/signature.ts';
import { algorithms, assertSignable, type RsaScheme } from '../algorithms.ts';
import { azureGarbage, azureStateError } from './errors.ts';
import type { ListedVersion, OpaqueVersion, VersionState } from '../port.ts';
import { publicKeyOf } from '../public-key.ts';

const versionId = z.string().regex(/^[0-9a-f]{32}$/);
/** `KeyProperties` of the SDK, of one version. */
const properties = z.object({
  version: versionId,
  enabled: z.boolean().optional(),
  createdOn: z.date().optional(),
  notBefore: z.date().optional(),
  expiresOn: z.date().optional(),
});
const number = z.string().max(1024).optional();
const bundle = z.object({
  key: z.object({
    kid: z.string().max(1024),
    kty: z.string().max(32),
    key_ops: z.array(z.string().max(32)).max(32).default([]),
    crv: z.string().max(32).optional(),
    n: number,
    e: number,
    x: number,
    y: number,
  }),
  attributes: z
    .object({
      hsmPlatform: z.union([z.string().max(32), z.int()]).optional(),
      recoveryLevel: z.string().max(128).optional(),
      exportable: z.boolean().optional(),
    })
    .default({}),
});
const signAnswer = z.object({ kid: z.string().max(1024), value: z.string().max(2048) });

/** A version of a key, as it is answered by the vault. */
export type AzureBundle = z.infer<typeof bundle>;

/** Where the key stands: what errors and versions need to name it. */
export type AzureKey = {
  /** The configured name. */
  readonly name: string;
  /** The name in the vault. */
  readonly key: string;
  /** For messages. */
  readonly vault: string;
  readonly rsa: RsaScheme;
};

/** The curves that sign here, and the bytes of a coordinate. */
const curves: Readonly<Record<string, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

const refuse = (reason: string, message: string): CountersignError =>
  new CountersignError('failed_precondition', reason, message);
const unsupported = (key: AzureKey, why: string): CountersignError =>
  refuse(
    'KEY_UNSUPPORTED',
    `Key ${key.key} in ${key.vault} cannot be used: ${why}. Create one of type EC (P-256, P-384, P-521) or RSA (2048, 3072, 4096).`,
  );

const stateAt = (now: Date, { enabled, notBefore, expiresOn }: z.infer<typeof properties>): VersionState => {
  if (enabled === false) return 'disabled';
  if (notBefore !== undefined && notBefore > now) return 'not-yet-valid';
  return expiresOn !== undefined && expiresOn <= now ? 'expired' : 'enabled';
};

/** The listed versions of a key -> what is known of each without its public key, newest first. Throws `data_loss`. */
export const readVersions = (answers: readonly unknown[], key: AzureKey, now: Date): readonly OpaqueVersion[] =>
  answers
    .map((answer) => {
      const parsed = properties.safeParse(answer);
      if (!parsed.success) throw azureGarbage(key.vault, `no list of the versions of key ${key.key}`);
      return parsed.data;
    })
    .toSorted((a, b) => (b.createdOn?.getTime() ?? 0) - (a.createdOn?.getTime() ?? 0))
    .map((each) => ({
      version: each.version,
      state: stateAt(now, each),
      createdAt: each.createdOn?.toISOString(),
      validFrom: each.notBefore?.toISOString(),
      validUntil: each.expiresOn?.toISOString(),
    }));

/**
 * The version that signs: the configured one, or the newest that is enabled and valid. Throws `KEY_NOT_FOUND`,
 * `KEY_VERSION_NOT_FOUND`, or the error for the state of the version (of the newest, when none signs).
 */
export const pinVersion = (
  versions: readonly OpaqueVersion[],
  pinned: string | undefined,
  key: AzureKey,
): OpaqueVersion => {
  const [newest] = versions;
  if (newest === undefined) {
    throw refuse(
      'KEY_NOT_FOUND',
      `${key.vault} has no key ${key.key}: check its name and the vault; if it was deleted, recover it.`,
    );
  }
  const usable = versions.find(({ state }) => state === 'enabled') ?? newest;
  const found = pinned === undefined ? usable : versions.find(({ version }) => version === pinned);
  if (found === undefined) {
    throw refuse(
      'KEY_VERSION_NOT_FOUND',
      `Key ${key.key} in ${key.vault} has no version ${pinned}: configure one that exists.`,
    );
  }
  const state = azureStateError(key.vault, found.state);
  if (state !== undefined) throw state;
  return found;
};

/** One version as the vault gives it. Throws `data_loss` when it is none, or another one than was asked for. */
export const readBundle = (answer: unknown, version: string, key: AzureKey): AzureBundle => {
  const parsed = bundle.safeParse(answer);
  const [, name, id] = /\/keys\/([^/]+)\/([^/]+)$/.exec(parsed.data?.key.kid ?? '') ?? [];
  if (parsed.data === undefined || name?.toLowerCase() !== key.key.toLowerCase() || id !== version) {
    throw azureGarbage(key.vault, `no version ${version} of key ${key.key}`);
  }
  return parsed.data;
};

/** An unsigned integer of a JWK, without leading zeros (Azure may send one), on the left padded to `width` bytes. */
const unsigned = (text: string | undefined, width = 0): string | undefined => {
  const bytes = decodeBase64Url(text ?? '');
  if (bytes === undefined || bytes.length === 0) return undefined;
  const from = bytes.findIndex((byte) => byte !== 0);
  const magnitude = bytes.subarray(from === -1 ? bytes.length : from);
  return Buffer.concat([Buffer.alloc(Math.max(0, width - magnitude.length)), magnitude]).toString('base64url');
};

const parseJwk = (jwk: Readonly<Record<string, string | undefined>>): KeyObject | undefined => {
  if (Object.values(jwk).includes(undefined)) return undefined;
  try {
    return createPublicKey({ key: jwk, format: 'jwk' });
  } catch {
    return undefined;
  }
};

const publicKeyOfBundle = ({ key: { kty, crv, n, e, x, y } }: AzureBundle, key: AzureKey): KeyObject | undefined => {
  const type = kty.replace(/-HSM$/, '');
  if (type === 'RSA') return parseJwk({ kty: type, n: unsigned(n), e: unsigned(e) });
  if (type === 'oct')
    throw unsupported(key, `its type ${kty} is symmetric and makes no signatures that others can verify`);
  if (type !== 'EC') throw unsupported(key, `its type ${kty} is not known here`);
  if (crv === 'P-256K') throw unsupported(key, 'its curve P-256K (secp256k1) is refused by cosign and Sigstore');
  const width = Object.hasOwn(curves, crv ?? '') ? curves[crv ?? ''] : undefined;
  if (width === undefined) throw unsupported(key, `its curve ${crv ?? '(none)'} is not known here`);
  return parseJwk({ kty: type, crv, x: unsigned(x, width), y: unsigned(y, width) });
};

/**
 * The public key of a version, for the list. Throws `KEY_UNSUPPORTED` with the reason for a key of another kind, `data_loss`
 * for one that cannot be read.
 */
export const readPublicKey = (read: AzureBundle, facts: OpaqueVersion, key: AzureKey): ListedVersion => {
  const publicKey = publicKeyOfBundle(read, key);
  if (publicKey === undefined) {
    throw azureGarbage(key.vault, `the public key of version ${facts.version} of key ${key.key} is not readable`);
  }
  return { ...facts, key: key.name, ...publicKeyOf(publicKey, key.rsa) };
};

/** Throws `KEY_UNSUPPORTED` unless the vault lets the version sign. */
export const assertSigns = ({ key: { key_ops } }: AzureBundle, key: AzureKey): void => {
  if (key_ops.includes('sign')) return;
  throw refuse(
    'KEY_UNSUPPORTED',
    `Key ${key.key} in ${key.vault} is not for signing: its permitted operations are ${key_ops.join(', ') || 'none'}; ` +
      'add sign (az keyvault key set-attributes --ops).',
  );
};

/** The algorithm's JWA name, and the digest: the vault takes nothing else. Throws `DIGEST_NOT_SUPPORTED` as `assertSignable`. */
export const signInput = (
  version: KeyVersion,
  toSign: ToSign,
): { readonly alg: string; readonly digest: Uint8Array } => {
  assertSignable(version.algorithm, toSign.kind);
  const { hash, jwa } = algorithms[version.algorithm];
  if (toSign.kind === 'digest') return { alg: jwa, digest: toSign.digest };
  return {
    alg: jwa,
    digest: createHash(hash ?? 'sha256')
      .update(toSign.message)
      .digest(),
  };
};

const toDer = (raw: Uint8Array, curve: EcdsaCurve | undefined): Uint8Array | undefined =>
  curve === undefined ? raw : ecdsaRawToDer(raw, curve);

/**
 * Sign's answer -> the signature. `kid` is that of the version when it was opened. Throws `data_loss`:
 * `KEY_VERSION_MISMATCH` when another version signed, or `KEY_ANSWER_MALFORMED`.
 */
export const readSignature = (answer: unknown, version: KeyVersion, kid: string, vault: string): Uint8Array => {
  const parsed = signAnswer.safeParse(answer);
  if (!parsed.success) throw azureGarbage(vault, 'no signature');
  if (parsed.data.kid !== kid) {
    throw new CountersignError(
      'data_loss',
      'KEY_VERSION_MISMATCH',
      `${vault} signed with another version or key than ${version.version}; the signature was dropped.`,
    );
  }
  const raw = decodeBase64Url(parsed.data.value);
  const algorithm = algorithms[version.algorithm];
  const curve = algorithm.type === 'ec' ? algorithm.curve : undefined;
  const signature = raw === undefined || raw.length === 0 ? undefined : toDer(raw, curve);
  if (signature === undefined) throw azureGarbage(vault, `no signature of ${version.algorithm}`);
  return signature;
};

import { z } from 'zod';
import { decodeBase64 } from '../../codec/base64.ts';
import { readPem } from '../../codec/pem.ts';
import { ed25519Spki, readSpki } from '../../codec/spki.ts';
import { CountersignError } from '../../model/error.ts';
import { algorithms, type RsaScheme } from '../algorithms.ts';
import type { KeyOrigin, ListedVersion, OpaqueVersion } from '../port.ts';
import { type PublicKey, publicKeyOf } from '../public-key.ts';
import { vaultGarbage } from './errors.ts';

const listedKey = z.object({
  public_key: z.string().max(16_384).optional(),
  creation_time: z.string().max(64).optional(),
});
const keyAnswer = z.object({
  data: z.object({
    type: z.string().max(64),
    derived: z.boolean().optional(),
    soft_deleted: z.boolean().optional(),
    latest_version: z.int().min(0).default(0),
    min_available_version: z.int().min(0).default(0),
    min_encryption_version: z.int().min(0).default(0),
    exportable: z.boolean().optional(),
    allow_plaintext_backup: z.boolean().optional(),
    deletion_allowed: z.boolean().optional(),
    imported_key: z.boolean().optional(),
    auto_rotate_period: z.union([z.int(), z.string().max(32)]).optional(),
    backup_info: z.unknown().optional(),
    restore_info: z.unknown().optional(),
    keys: z.record(z.string().regex(/^[1-9]\d{0,8}$/), z.unknown()).default({}),
  }),
});
type KeyData = z.infer<typeof keyAnswer>['data'];

/** Versions that Vault lists no more, shown at most; the newest ones. */
const maxOpaque = 100;

/** Where the key stands: what errors and versions need to name it. */
export type TransitKey = {
  /** The configured name. */
  readonly name: string;
  /** The name in the transit engine. */
  readonly key: string;
  readonly host: string;
  readonly rsa: RsaScheme;
};

const refuse = (reason: string, message: string): CountersignError =>
  new CountersignError('failed_precondition', reason, message);

/** EC and RSA public keys are PEM, Ed25519 ones the bare 32 bytes in base64. */
const readPublicKey = (text: string, transit: TransitKey, version: string): PublicKey => {
  const garbage = vaultGarbage(transit.host, `version ${version} of key ${transit.key} has no readable public key`);
  const raw = decodeBase64(text.trim());
  const block = raw === undefined ? readPem(text, ['PUBLIC KEY']) : undefined;
  if (block !== undefined && 'problem' in block) throw garbage;
  const spki = block === undefined ? ed25519Spki(raw ?? new Uint8Array()) : block.bytes;
  const key = spki === undefined ? undefined : readSpki(spki);
  if (key === undefined) throw garbage;
  return publicKeyOf(key, transit.rsa);
};

const utc = (time: string | undefined): string | undefined => {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
};

/** What the key's own fields say of how it is guarded: whether its private half can leave Vault, or came from outside. */
const evidenceOf = (data: KeyData): Readonly<Record<string, string>> => {
  const names = [
    'exportable',
    'allow_plaintext_backup',
    'deletion_allowed',
    'imported_key',
    'auto_rotate_period',
  ] as const;
  const stated = names.flatMap((name) => (data[name] === undefined ? [] : [[name, String(data[name])] as const]));
  const happened = (['backup_info', 'restore_info'] as const).filter((name) => typeof data[name] === 'object');
  return {
    type: data.type,
    ...Object.fromEntries(stated),
    ...Object.fromEntries(happened.map((name) => [name, 'present'])),
  };
};

const originOf = (imported: boolean | undefined): KeyOrigin => {
  if (imported === undefined) return 'unknown';
  return imported ? 'imported' : 'generated';
};

/**
 * Versions below `min_available_version` were trimmed and are gone for good; those that are missing otherwise are archived
 * below `min_decryption_version`, and come back when that is lowered.
 */
const opaqueVersions = ({ latest_version, min_available_version, keys }: KeyData): readonly OpaqueVersion[] => {
  const versions: OpaqueVersion[] = [];
  for (let version = latest_version; version > 0 && versions.length < maxOpaque; version -= 1) {
    if (Object.hasOwn(keys, String(version))) continue;
    const state = version < min_available_version ? 'destroyed' : 'disabled';
    versions.push({ version: String(version), state, createdAt: undefined });
  }
  return versions;
};

/** A key as Vault describes it: usable here, its versions newest first. */
export type DescribedKey = {
  readonly versions: readonly ListedVersion[];
  readonly opaque: readonly OpaqueVersion[];
  /** The fields of the key that say how it is guarded, by Vault's names. */
  readonly evidence: Readonly<Record<string, string>>;
  readonly origin: KeyOrigin;
};

const unsupported = (type: string, derived: boolean, { key, host }: TransitKey): CountersignError => {
  const why =
    type === 'managed_key'
      ? 'is a managed key: Vault does not give its public key. Configure the key where it is held (PKCS#11, AWS, GCP, Azure)'
      : `is of type ${type}${derived ? ', derived' : ''}, which cannot be used here`;
  return refuse(
    'KEY_UNSUPPORTED',
    `Key ${key} in Vault (${host}) ${why}, or create one of type ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519, rsa-2048, ` +
      'rsa-3072 or rsa-4096.',
  );
};

/**
 * `GET <mount>/keys/<key>` -> the key. Throws `failed_precondition` (`KEY_UNSUPPORTED` for a type that cannot sign here,
 * `KEY_DISABLED` when soft-deleted), or `data_loss` for an answer that is not one.
 */
export const readKey = (answer: unknown, transit: TransitKey): DescribedKey => {
  const parsed = keyAnswer.safeParse(answer);
  if (!parsed.success) throw vaultGarbage(transit.host, `no description of key ${transit.key}`);
  const { data } = parsed.data;
  const { type, min_encryption_version, keys } = data;
  if (data.soft_deleted === true) {
    throw refuse('KEY_DISABLED', `Key ${transit.key} is soft-deleted in OpenBao (${transit.host}): restore it.`);
  }
  if (data.derived === true || !Object.values(algorithms).some((row) => row.vault.type === type)) {
    throw unsupported(type, data.derived === true, transit);
  }
  const versions = Object.entries(keys)
    .map(([version, value]): ListedVersion => {
      const listed = listedKey.safeParse(value);
      const publicKey = readPublicKey(listed.data?.public_key ?? '', transit, version);
      if (algorithms[publicKey.algorithm].vault.type !== type) {
        throw vaultGarbage(transit.host, `version ${version} of key ${transit.key} is not of the key's type ${type}`);
      }
      const state = Number(version) < min_encryption_version ? 'disabled' : 'enabled';
      return { key: transit.name, version, ...publicKey, state, createdAt: utc(listed.data?.creation_time) };
    })
    .toSorted((a, b) => Number(b.version) - Number(a.version));
  if (versions.length === 0) throw vaultGarbage(transit.host, `key ${transit.key} has no versions`);
  return {
    versions,
    opaque: opaqueVersions(data),
    evidence: evidenceOf(data),
    origin: originOf(data.imported_key),
  };
};

/**
 * The version that signs: the configured one or the newest. Throws `failed_precondition`: `KEY_NOT_FOUND` when there is no
 * such version, `KEY_DISABLED` when it may not sign, `KEY_DESTROYED` when it was trimmed.
 */
export const pinVersion = (
  { versions, opaque }: DescribedKey,
  pinned: number | undefined,
  transit: TransitKey,
): ListedVersion => {
  const named = (each: { readonly version: string }): boolean => Number(each.version) === pinned;
  const version = pinned === undefined ? versions[0] : versions.find(named);
  if (version?.state === 'enabled') return version;
  const what = `ersion ${version?.version ?? pinned ?? ''} of key ${transit.key} in Vault (${transit.host})`;
  if (version !== undefined) {
    throw refuse(
      'KEY_DISABLED',
      `V${what} may not sign: lower min_encryption_version of the key, or use another version.`,
    );
  }
  const gone = opaque.find(named);
  if (gone?.state === 'destroyed') throw refuse('KEY_DESTROYED', `V${what} was trimmed away: use another version.`);
  if (gone !== undefined) {
    throw refuse(
      'KEY_DISABLED',
      `V${what} is archived: lower min_decryption_version of the key, or use another version.`,
    );
  }
  throw refuse('KEY_NOT_FOUND', `There is no v${what}: configure one that exists.`);
};

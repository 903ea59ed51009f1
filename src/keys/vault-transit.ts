import { createHash } from 'node:crypto';
import { z } from 'zod';
import { decodeBase64 } from '../codec/base64.ts';
import { readPem } from '../codec/pem.ts';
import { ed25519Spki, readSpki } from '../codec/spki.ts';
import { CountersignError } from '../model/error.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';
import { type Algorithm, algorithms, assertSignable, type RsaPadding } from './algorithms.ts';
import type { ListedVersion } from './port.ts';
import { type PublicKey, publicKeyOf } from './public-key.ts';
import { vaultGarbage } from './vault-errors.ts';

const listedKey = z.object({
  public_key: z.string().max(16_384).optional(),
  creation_time: z.string().max(64).optional(),
});
const keyAnswer = z.object({
  data: z.object({
    type: z.string().max(64),
    derived: z.boolean().optional(),
    soft_deleted: z.boolean().optional(),
    latest_version: z.int().min(1),
    min_encryption_version: z.int().min(0).default(0),
    keys: z.record(z.string().regex(/^[1-9]\d{0,8}$/), z.unknown()),
  }),
});
const signAnswer = z.object({
  data: z.object({ signature: z.string().max(16_384), key_version: z.int().optional() }),
});

/** Where the key stands: what errors and versions need to name it. */
export type TransitKey = {
  /** The configured name. */
  readonly name: string;
  /** The name in the transit engine. */
  readonly key: string;
  readonly host: string;
  readonly rsaPadding: RsaPadding | undefined;
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
  return publicKeyOf(key, transit.rsaPadding);
};

const utc = (time: string | undefined): string | undefined => {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) ? undefined : new Date(at).toISOString();
};

/**
 * `GET <mount>/keys/<key>` -> all its versions, newest first. Throws `failed_precondition` (`KEY_UNSUPPORTED` for a type
 * that cannot sign, `KEY_DISABLED` when deleted), or `data_loss` for an answer that is not one.
 */
export const readVersions = (answer: unknown, transit: TransitKey): readonly ListedVersion[] => {
  const parsed = keyAnswer.safeParse(answer);
  if (!parsed.success) throw vaultGarbage(transit.host, `no description of key ${transit.key}`);
  const { type, derived, soft_deleted, min_encryption_version, keys } = parsed.data.data;
  if (soft_deleted === true) {
    throw refuse('KEY_DISABLED', `Key ${transit.key} is deleted in Vault (${transit.host}): restore it.`);
  }
  if (derived === true || !Object.values(algorithms).some((row) => row.vault.type === type)) {
    throw refuse(
      'KEY_UNSUPPORTED',
      `Key ${transit.key} in Vault (${transit.host}) is of type ${type}${derived === true ? ', derived' : ''}, which cannot ` +
        'be used here: create one of type ecdsa-p256, ecdsa-p384, ecdsa-p521, ed25519, rsa-2048, rsa-3072 or rsa-4096.',
    );
  }
  return Object.entries(keys)
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
};

/** The version that signs: the configured one or the newest. Throws when it is not there or may not sign. */
export const pinVersion = (
  versions: readonly ListedVersion[],
  pinned: number | undefined,
  transit: TransitKey,
): ListedVersion => {
  const version = pinned === undefined ? versions[0] : versions.find((each) => Number(each.version) === pinned);
  if (version === undefined) {
    throw refuse(
      'KEY_VERSION_NOT_FOUND',
      `Key ${transit.key} in Vault (${transit.host}) has no version ${pinned ?? ''}: configure one that exists.`,
    );
  }
  if (version.state !== 'enabled') {
    throw refuse(
      'KEY_VERSION_DISABLED',
      `Version ${version.version} of key ${transit.key} in Vault (${transit.host}) may not sign (min_encryption_version).`,
    );
  }
  return version;
};

/** ECDSA and RSA get the digest, so that large messages stay here; Ed25519 signs the message itself, never prehashed. */
const signInput = (algorithm: Algorithm, toSign: ToSign): Uint8Array => {
  if (toSign.kind === 'digest') return toSign.digest;
  return algorithm.hash === undefined ? toSign.message : createHash(algorithm.hash).update(toSign.message).digest();
};

/**
 * Path below the mount, and body, of the sign request for exactly this version: ASN.1, PSS with a salt of the hash's
 * length (Vault's default is the largest). Throws `DIGEST_NOT_SUPPORTED` as `assertSignable`.
 */
export const signRequest = (
  version: KeyVersion,
  key: string,
  toSign: ToSign,
): readonly [path: string, body: object] => {
  assertSignable(version.algorithm, toSign.kind);
  const algorithm = algorithms[version.algorithm];
  const input = Buffer.from(signInput(algorithm, toSign)).toString('base64');
  const common = { input, key_version: Number(version.version), marshaling_algorithm: 'asn1' };
  if (algorithm.type === 'ed25519') return [`sign/${key}`, common];
  const padding =
    algorithm.type === 'ec'
      ? {}
      : {
          signature_algorithm: algorithm.padding,
          ...(algorithm.padding === 'pss' ? { salt_length: 'hash' } : {}),
        };
  return [`sign/${key}/${algorithm.vault.hash}`, { ...common, prehashed: true, ...padding }];
};

/**
 * The answer to a sign request -> the signature. Throws `data_loss`, reason `KEY_VERSION_MISMATCH`, when another version
 * signed, or `KEY_ANSWER_MALFORMED`.
 */
export const readSignature = (answer: unknown, version: KeyVersion, host: string): Buffer => {
  const parsed = signAnswer.safeParse(answer);
  const parts = /^vault:v(\d{1,9}):([A-Za-z0-9+/=]+)$/.exec(parsed.data?.data.signature ?? '');
  const signature = decodeBase64(parts?.[2] ?? '');
  if (parsed.data === undefined || parts === null || signature === undefined) throw vaultGarbage(host, 'no signature');
  const signedBy = parsed.data.data.key_version ?? Number(parts[1]);
  if (parts[1] !== version.version || signedBy !== Number(version.version)) {
    throw new CountersignError(
      'data_loss',
      'KEY_VERSION_MISMATCH',
      `Vault (${host}) signed with version ${parts[1]} of key ${version.key} instead of ${version.version}; the signature was dropped.`,
    );
  }
  return signature;
};

import { createHash } from 'node:crypto';
import { z } from 'zod';
import { crc32c } from '../../codec/crc32c.ts';
import { readPem } from '../../codec/pem.ts';
import { readSpki } from '../../codec/spki.ts';
import type { AlgorithmName } from '../../model/algorithm.ts';
import { CountersignError } from '../../model/error.ts';
import { algorithms, type RsaScheme } from '../algorithms.ts';
import { gcpCorrupted, gcpGarbage, gcpStateError } from './errors.ts';
import type { KeyOrigin, ProtectionLevel, VersionState } from '../port.ts';
import { type PublicKey, publicKeyOf } from '../public-key.ts';

/** The algorithms of Cloud KMS that sign here: curve or size, padding and hash are part of the version. */
const names: Readonly<Record<string, AlgorithmName>> = {
  EC_SIGN_P256_SHA256: 'ecdsa-p256-sha256',
  EC_SIGN_P384_SHA384: 'ecdsa-p384-sha384',
  EC_SIGN_ED25519: 'ed25519',
  RSA_SIGN_PKCS1_2048_SHA256: 'rsa-pkcs1v15-2048-sha256',
  RSA_SIGN_PKCS1_3072_SHA256: 'rsa-pkcs1v15-3072-sha256',
  RSA_SIGN_PKCS1_4096_SHA256: 'rsa-pkcs1v15-4096-sha256',
  RSA_SIGN_PSS_2048_SHA256: 'rsa-pss-2048-sha256',
  RSA_SIGN_PSS_3072_SHA256: 'rsa-pss-3072-sha256',
  RSA_SIGN_PSS_4096_SHA256: 'rsa-pss-4096-sha256',
  RSA_SIGN_PKCS1_4096_SHA512: 'rsa-pkcs1v15-4096-sha512',
  RSA_SIGN_PSS_4096_SHA512: 'rsa-pss-4096-sha512',
};

const whyNot: readonly (readonly [RegExp, string])[] = [
  [/^EC_SIGN_SECP256K1_/, 'the curve secp256k1 is refused by cosign and Sigstore'],
  [/^RSA_SIGN_RAW_/, 'raw RSA signs bytes without saying how they were hashed'],
  [/^PQ_SIGN_/, 'no verifier of cosign signatures knows post-quantum signatures yet'],
  [/^(?:GOOGLE_|AES_|HMAC_|RSA_DECRYPT_|EXTERNAL_SYMMETRIC|ML_KEM|KEM_)/, 'it does not make signatures'],
];

/** Names of enums; the number of one that is newer than the SDK. */
const name = z.union([z.string().max(128), z.int()]).transform(String);
const timestamp = z
  .object({ seconds: z.coerce.number().min(0).max(253_402_300_799), nanos: z.int().min(0).max(999_999_999) })
  .transform(({ seconds, nanos }) => new Date(seconds * 1000 + Math.floor(nanos / 1e6)).toISOString());
const text = z.string().max(2048).optional();

const cryptoKeyVersion = z.object({
  name: z.string().max(1024),
  state: name,
  protectionLevel: name,
  algorithm: name,
  createTime: timestamp.nullish(),
  importJob: text,
  trustedWrappingEnabled: z.boolean().optional(),
  attestation: z.object({ format: name, content: z.instanceof(Uint8Array) }).nullish(),
  externalProtectionLevelOptions: z.object({ externalKeyUri: text, ekmConnectionKeyPath: text }).nullish(),
});
const versionsPage = z.object({
  cryptoKeyVersions: z.array(cryptoKeyVersion).max(1000),
  nextPageToken: z.string().max(8192),
});
const publicKeyAnswer = z.object({
  name: z.string().max(1024),
  algorithm: name,
  protectionLevel: name,
  pem: z.string().max(16 * 1024),
  pemCrc32c: z.object({ value: z.coerce.number() }).nullish(),
});

/** A version as Cloud KMS tells it. `name` is its resource name, `number` the last part of that. */
export type GcpVersion = z.infer<typeof cryptoKeyVersion> & { readonly number: number };

/**
 * The number of a version of exactly this key; undefined for another name. A project that is configured by its number may
 * be answered by its id.
 */
const numberOf = (versionName: string, keyName: string): number | undefined => {
  const byNumber = /^projects\/[0-9]+\//.test(keyName);
  const tail = (whole: string): string => (byNumber ? whole.replace(/^projects\/[^/]+/, '') : whole);
  const prefix = `${tail(keyName)}/cryptoKeyVersions/`;
  const found = tail(versionName);
  const number = found.startsWith(prefix) ? found.slice(prefix.length) : '';
  return /^[1-9][0-9]{0,9}$/.test(number) ? Number(number) : undefined;
};

const withNumber = (version: z.infer<typeof cryptoKeyVersion>, keyName: string, kms: string): GcpVersion => {
  const number = numberOf(version.name, keyName);
  if (number === undefined) throw gcpGarbage(kms, `a version of another key than ${keyName}`);
  return { ...version, number };
};

/** One page of ListCryptoKeyVersions -> its versions and the token of the next page (empty: none). Throws `data_loss`. */
export const readVersionsPage = (
  answer: unknown,
  keyName: string,
  kms: string,
): { readonly versions: readonly GcpVersion[]; readonly next: string } => {
  const parsed = versionsPage.safeParse(answer);
  if (!parsed.success) throw gcpGarbage(kms, 'no list of versions');
  const versions = parsed.data.cryptoKeyVersions.map((version) => withNumber(version, keyName, kms));
  return { versions, next: parsed.data.nextPageToken };
};

/** GetCryptoKeyVersion's answer -> the version, which must be the one that was asked for. Throws `data_loss`. */
export const readVersion = (answer: unknown, asked: string, keyName: string, kms: string): GcpVersion => {
  const parsed = cryptoKeyVersion.safeParse(answer);
  if (parsed.data?.name !== asked) throw gcpGarbage(kms, `no description of ${asked}`);
  return withNumber(parsed.data, keyName, kms);
};

const unsupported = (message: string): CountersignError =>
  new CountersignError('failed_precondition', 'KEY_UNSUPPORTED', message);

/** Undefined for a version whose signatures are not made or listed here. */
export const algorithmNameOf = ({ algorithm }: GcpVersion): AlgorithmName | undefined =>
  Object.hasOwn(names, algorithm) ? names[algorithm] : undefined;

/**
 * Can this version sign? Throws `failed_precondition`: `KEY_DISABLED`, `KEY_PENDING`,
 * `KEY_PENDING_DELETION`, `KEY_DESTROYED` by its state, `KEY_UNSUPPORTED` with the reason by its algorithm or by a padding
 * that the configuration demands and the version does not have.
 */
const assertSigns = (version: GcpVersion, scheme: RsaScheme, kms: string): void => {
  const state = gcpStateError(kms, `${version.number}`, version.state);
  if (state !== undefined) throw state;
  const known = algorithmNameOf(version);
  if (known === undefined) {
    const why = whyNot.find(([pattern]) => pattern.test(version.algorithm))?.[1] ?? 'it is not known here';
    throw unsupported(
      `Version ${version.number} of the key in ${kms} is of algorithm ${version.algorithm}, which cannot be used: ${why}. ` +
        `Create a key of one of ${Object.keys(names).join(', ')}.`,
    );
  }
  const algorithm = algorithms[known];
  if (algorithm.type !== 'rsa') return;
  const { padding = algorithm.padding, hash = algorithm.hash } = scheme;
  if (padding !== algorithm.padding || hash !== algorithm.hash) {
    throw unsupported(
      `Version ${version.number} of the key in ${kms} signs with RSA padding ${algorithm.padding} and ${algorithm.hash}, which are ` +
        'part of it: leave rsaPadding and rsaHash out, or configure another version.',
    );
  }
};

/** The version that signs: the numbered one, else the newest that is enabled. `versions`: newest first. Throws as `assertSigns`, or `KEY_NOT_FOUND`. */
export const pinVersion = (
  versions: readonly GcpVersion[],
  pinned: number | undefined,
  scheme: RsaScheme,
  kms: string,
): GcpVersion => {
  const numbered = versions.find(({ number }) => number === pinned);
  const newest = versions.find(({ state }) => state === 'ENABLED') ?? versions[0];
  const version = pinned === undefined ? newest : numbered;
  if (version === undefined) {
    throw new CountersignError(
      'failed_precondition',
      'KEY_NOT_FOUND',
      `The key in ${kms} has no version${pinned === undefined ? '' : ` ${pinned}`}: create one (gcloud kms keys versions create).`,
    );
  }
  assertSigns(version, scheme, kms);
  return version;
};

const states: Readonly<Record<string, VersionState>> = {
  ENABLED: 'enabled',
  DISABLED: 'disabled',
  PENDING_GENERATION: 'pending',
  PENDING_IMPORT: 'pending',
  DESTROY_SCHEDULED: 'pending-deletion',
  DESTROYED: 'destroyed',
  GENERATION_FAILED: 'destroyed',
  IMPORT_FAILED: 'destroyed',
  PENDING_EXTERNAL_DESTRUCTION: 'destroyed',
  EXTERNAL_DESTRUCTION_FAILED: 'destroyed',
};

/** A state that is not known here counts as disabled: it is not one that signs. */
export const stateOf = ({ state }: GcpVersion): VersionState =>
  (Object.hasOwn(states, state) ? states[state] : undefined) ?? 'disabled';

const hardware = new Set(['HSM', 'HSM_SINGLE_TENANT']);

/**
 * How the version is guarded. HSM, HSM_SINGLE_TENANT: in Google's HSMs, which Google documents as validated at FIPS 140-2
 * level 3 (docs.cloud.google.com/kms/docs/hsm); where the material was imported, or may be taken out wrapped, a copy may be
 * elsewhere, so no level is claimed. EXTERNAL, EXTERNAL_VPC: in a key manager of which Cloud KMS says nothing, so `software`.
 */
export const protectionOf = ({ protectionLevel, importJob, trustedWrappingEnabled }: GcpVersion): ProtectionLevel => {
  if (!hardware.has(protectionLevel)) return 'software';
  return (importJob ?? '') !== '' || trustedWrappingEnabled === true ? 'hsm' : 'fips-140-2-l3';
};

export const originOf = ({ protectionLevel, importJob }: GcpVersion): KeyOrigin => {
  if (protectionLevel.startsWith('EXTERNAL')) return 'external';
  if ((importJob ?? '') !== '') return 'imported';
  return hardware.has(protectionLevel) || protectionLevel === 'SOFTWARE' ? 'generated' : 'unknown';
};

/** What was concluded from, in the words of Cloud KMS; of the HSM's attestation its SHA-256, to find it again. */
export const evidenceOf = (version: GcpVersion): Readonly<Record<string, string>> => {
  const { attestation, externalProtectionLevelOptions: external, importJob = '' } = version;
  const all: Record<string, string> = {
    protectionLevel: version.protectionLevel,
    importJob,
    trustedWrappingEnabled: version.trustedWrappingEnabled === true ? 'true' : '',
    attestationFormat: attestation?.format ?? '',
    attestationSha256:
      attestation === null || attestation === undefined
        ? ''
        : createHash('sha256').update(attestation.content).digest('hex'),
    externalKeyUri: external?.externalKeyUri ?? '',
    ekmConnectionKeyPath: external?.ekmConnectionKeyPath ?? '',
  };
  const said = Object.entries(all).filter(([, value]) => value !== '');
  return Object.fromEntries(said.map(([field, value]) => [field, value.slice(0, 1024)]));
};

/**
 * GetPublicKey's answer -> the public key of that version. Throws `data_loss`: `KEY_CHECKSUM_MISMATCH` (PEM and its CRC-32C
 * differ), `KEY_ANSWER_MALFORMED` for another version's key or one that does not fit the version.
 */
export const readPublicKey = (answer: unknown, version: GcpVersion, kms: string): PublicKey => {
  const { data } = publicKeyAnswer.safeParse(answer);
  if (data?.name !== version.name) throw gcpGarbage(kms, `no public key of ${version.name}`);
  if (crc32c(Buffer.from(data.pem)) !== data.pemCrc32c?.value) throw gcpCorrupted(kms, 'The public key');
  if (data.algorithm !== version.algorithm || data.protectionLevel !== version.protectionLevel) {
    throw gcpGarbage(kms, `the public key of ${version.name} does not fit its description`);
  }
  const block = readPem(data.pem, ['PUBLIC KEY']);
  const key = 'problem' in block ? undefined : readSpki(block.bytes);
  if (key === undefined) throw gcpGarbage(kms, `the public key of ${version.name} is not readable`);
  const algorithm = algorithmNameOf(version);
  const row = algorithm === undefined ? undefined : algorithms[algorithm];
  const publicKey = publicKeyOf(key, row?.type === 'rsa' ? row : {});
  if (publicKey.algorithm !== algorithm) {
    throw gcpGarbage(kms, `the public key of ${version.name} is not of algorithm ${version.algorithm}`);
  }
  return publicKey;
};

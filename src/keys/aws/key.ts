import type { SignCommandInput, SigningAlgorithmSpec } from '@aws-sdk/client-kms';
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { readSpki } from '../../codec/spki.ts';
import type { AlgorithmName } from '../../model/algorithm.ts';
import { CountersignError } from '../../model/error.ts';
import type { KeyVersion, ToSign } from '../../model/signature.ts';
import { algorithms, assertSignable, type RsaScheme } from '../algorithms.ts';
import { awsGarbage, awsStateError } from './errors.ts';
import type { KeyOrigin, ListedVersion, ProtectionLevel } from '../port.ts';
import { publicKeyOf } from '../public-key.ts';

/** The KeySpecs that sign here; RSA with the scheme that the configuration chooses, never by the order of a list. */
const names: Readonly<Record<string, (scheme: RsaScheme) => AlgorithmName>> = {
  ECC_NIST_P256: () => 'ecdsa-p256-sha256',
  ECC_NIST_P384: () => 'ecdsa-p384-sha384',
  ECC_NIST_P521: () => 'ecdsa-p521-sha512',
  ECC_NIST_EDWARDS25519: () => 'ed25519',
  RSA_2048: ({ padding = 'pkcs1v15', hash = 'sha256' }) => `rsa-${padding}-2048-${hash}`,
  RSA_3072: ({ padding = 'pkcs1v15', hash = 'sha256' }) => `rsa-${padding}-3072-${hash}`,
  RSA_4096: ({ padding = 'pkcs1v15', hash = 'sha256' }) => `rsa-${padding}-4096-${hash}`,
};

const whyNot: readonly (readonly [RegExp, string])[] = [
  [/^ECC_SECG_P256K1$/, 'the curve secp256k1 is refused by cosign and Sigstore'],
  [/^ML_DSA_/, 'no verifier of cosign signatures knows ML-DSA yet'],
  [/^SM2$/, 'no verifier of cosign signatures knows SM2'],
  [/^(?:SYMMETRIC|HMAC_|ML_KEM_)/, 'it does not make signatures'],
];

/** The largest message that KMS signs itself, in bytes; Ed25519 has to be signed so. */
const maxRawBytes = 4096;

const keyMetadata = z.object({
  KeyMetadata: z.object({
    Arn: z.string().regex(/^arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key\/[\w-]{1,64}$/),
    KeyState: z.string().max(64),
    KeyUsage: z.string().max(64),
    KeySpec: z.string().max(64),
    SigningAlgorithms: z.array(z.string().max(64)).max(64).optional(),
    Origin: z.string().max(64).optional(),
    CustomKeyStoreId: z.string().max(256).optional(),
    CloudHsmClusterId: z.string().max(256).optional(),
    ExpirationModel: z.string().max(64).optional(),
    KeyManager: z.string().max(64).optional(),
    MultiRegion: z.boolean().optional(),
    MultiRegionConfiguration: z
      .object({
        MultiRegionKeyType: z.string().max(64).optional(),
        PrimaryKey: z.object({ Arn: z.string().max(256).optional() }).optional(),
        ReplicaKeys: z
          .array(z.object({ Region: z.string().max(32).optional() }))
          .max(256)
          .optional(),
      })
      .optional(),
    CreationDate: z.date().optional(),
    DeletionDate: z.date().optional(),
    ValidTo: z.date().optional(),
  }),
});
type KeyMetadata = z.infer<typeof keyMetadata>['KeyMetadata'];
const publicKeyAnswer = z.object({
  KeyId: z.string(),
  KeySpec: z.string(),
  PublicKey: z.instanceof(Uint8Array),
});
const signAnswer = z.object({
  KeyId: z.string().max(2048),
  SigningAlgorithm: z.string().max(64),
  Signature: z.instanceof(Uint8Array).refine(({ length }) => length > 0 && length <= 1024),
});

/** A key as DescribeKey tells it: usable, and of a kind that signs here. */
export type DescribedKey = {
  readonly arn: string;
  readonly keySpec: string;
  readonly protectionLevel: ProtectionLevel;
  readonly evidence: Readonly<Record<string, string>>;
  readonly origin: KeyOrigin;
  readonly createdAt: string | undefined;
  /** When imported key material expires. */
  readonly validUntil: string | undefined;
};

const unsupported = (message: string): CountersignError =>
  new CountersignError('failed_precondition', 'KEY_UNSUPPORTED', message);

/**
 * How AWS guards the key. AWS_KMS: made in and never leaving KMS's own HSMs, which AWS documents as validated at FIPS 140-3
 * security level 3 (developer guide, ML-DSA keys), except in China, whose HSMs have no such validation. EXTERNAL: imported
 * into the same HSMs, but a copy was and may be elsewhere, so no level is claimed. AWS_CLOUDHSM: an HSM of the customer, whose
 * mode and validation KMS does not tell. EXTERNAL_KEY_STORE: outside of AWS, which says nothing about what holds it.
 */
const protectionOf = (arn: string, origin: string | undefined, customKeyStore: string | undefined): ProtectionLevel => {
  if (origin === 'AWS_KMS' && customKeyStore === undefined)
    return arn.startsWith('arn:aws-cn:') ? 'hsm' : 'fips-140-3-l3';
  return origin === 'AWS_KMS' || origin === 'EXTERNAL' || origin === 'AWS_CLOUDHSM' ? 'hsm' : 'software';
};

const originOf = (origin: string | undefined): KeyOrigin => {
  if (origin === 'AWS_KMS' || origin === 'AWS_CLOUDHSM') return 'generated';
  if (origin === 'EXTERNAL') return 'imported';
  return origin === 'EXTERNAL_KEY_STORE' ? 'external' : 'unknown';
};

/** What the protection level, and where the key is, were read from: fields of KeyMetadata. Replicas by their regions. */
const evidenceOf = (metadata: KeyMetadata): Readonly<Record<string, string>> => {
  const { MultiRegionKeyType, PrimaryKey, ReplicaKeys } = metadata.MultiRegionConfiguration ?? {};
  const fields: Readonly<Record<string, string | undefined>> = {
    Origin: metadata.Origin,
    KeySpec: metadata.KeySpec,
    KeyManager: metadata.KeyManager,
    CustomKeyStoreId: metadata.CustomKeyStoreId,
    CloudHsmClusterId: metadata.CloudHsmClusterId,
    ExpirationModel: metadata.ExpirationModel,
    MultiRegion: metadata.MultiRegion?.toString(),
    MultiRegionKeyType,
    PrimaryKey: PrimaryKey?.Arn,
    ReplicaRegions: ReplicaKeys?.map(({ Region }) => Region)
      .join(' ')
      .slice(0, 1024),
    partition: metadata.Arn.split(':')[1],
  };
  return Object.fromEntries(Object.entries(fields).filter((field): field is [string, string] => Boolean(field[1])));
};

/** The algorithm of a KeySpec with the configured padding. Throws `KEY_UNSUPPORTED` with the reason. */
const algorithmFor = (keySpec: string, rsa: RsaScheme, kms: string): AlgorithmName => {
  const known = Object.hasOwn(names, keySpec) ? names[keySpec] : undefined;
  if (known !== undefined) return known(rsa);
  const why = whyNot.find(([pattern]) => pattern.test(keySpec))?.[1] ?? 'it is not known here';
  throw unsupported(
    `The key in ${kms} is of KeySpec ${keySpec}, which cannot be used: ${why}. Create one of ${Object.keys(names).join(', ')}.`,
  );
};

/** What KMS calls an algorithm of ours. */
const signingAlgorithm = (name: AlgorithmName): SigningAlgorithmSpec => {
  const algorithm = algorithms[name];
  if (algorithm.type === 'ed25519') return 'ED25519_SHA_512';
  if (algorithm.type === 'rsa') {
    const bits = algorithm.hash.slice(3) as '256' | '384' | '512';
    return algorithm.padding === 'pss' ? `RSASSA_PSS_SHA_${bits}` : `RSASSA_PKCS1_V1_5_SHA_${bits}`;
  }
  return ({ sha256: 'ECDSA_SHA_256', sha384: 'ECDSA_SHA_384', sha512: 'ECDSA_SHA_512' } as const)[algorithm.hash];
};

/**
 * DescribeKey's answer -> the key. Throws `failed_precondition`: by its state `KEY_DISABLED`, `KEY_PENDING` (being made),
 * `KEY_PENDING_IMPORT`, `KEY_EXPIRED` (imported material), `KEY_PENDING_DELETION`, `KEY_STORE_UNAVAILABLE`; `KEY_UNSUPPORTED`
 * by its use or kind; `data_loss` for an answer that is none.
 */
export const readDescription = (answer: unknown, rsa: RsaScheme, kms: string): DescribedKey => {
  const parsed = keyMetadata.safeParse(answer);
  if (!parsed.success) throw awsGarbage(kms, 'no description of the key');
  const metadata = parsed.data.KeyMetadata;
  const { Arn, KeyState, KeyUsage, KeySpec, SigningAlgorithms, Origin, CustomKeyStoreId } = metadata;
  if (KeyUsage !== 'SIGN_VERIFY') {
    throw unsupported(`The key in ${kms} is for ${KeyUsage}: create one with key usage SIGN_VERIFY.`);
  }
  const algorithm = algorithmFor(KeySpec, rsa, kms);
  const wanted = signingAlgorithm(algorithm);
  const validUntil = metadata.ValidTo?.toISOString();
  const dates = { deletionDate: metadata.DeletionDate?.toISOString(), validTo: validUntil };
  const state = awsStateError(kms, KeyState, dates);
  if (state !== undefined) throw state;
  if (SigningAlgorithms !== undefined && !SigningAlgorithms.includes(wanted)) {
    throw unsupported(`The key in ${kms} does not sign with ${wanted}; it offers ${SigningAlgorithms.join(', ')}.`);
  }
  return {
    arn: Arn,
    keySpec: KeySpec,
    protectionLevel: protectionOf(Arn, Origin, CustomKeyStoreId),
    evidence: evidenceOf(metadata),
    origin: originOf(Origin),
    createdAt: metadata.CreationDate?.toISOString(),
    validUntil,
  };
};

/**
 * GetPublicKey's answer -> the one version, whose id is the ARN of the key: asymmetric keys of KMS have no versions. Throws
 * `data_loss` for another key's answer or one that does not fit the description.
 */
export const readVersion = (
  answer: unknown,
  described: DescribedKey,
  name: string,
  rsa: RsaScheme,
  kms: string,
): ListedVersion => {
  const parsed = publicKeyAnswer.safeParse(answer);
  const { arn, keySpec, createdAt, validUntil } = described;
  if (parsed.data === undefined || parsed.data.KeyId !== arn || parsed.data.KeySpec !== keySpec) {
    throw awsGarbage(kms, `no public key of ${arn}`);
  }
  const key = readSpki(parsed.data.PublicKey);
  if (key === undefined) throw awsGarbage(kms, `the public key of ${arn} is not readable`);
  const publicKey = publicKeyOf(key, rsa);
  if (publicKey.algorithm !== algorithmFor(keySpec, rsa, kms)) {
    throw awsGarbage(kms, `the public key of ${arn} is not of KeySpec ${keySpec}`);
  }
  return { key: name, version: arn, ...publicKey, state: 'enabled', createdAt, validUntil };
};

/**
 * The Sign request for exactly this version. ECDSA and RSA get a digest, made here, so that messages may have any size;
 * Ed25519 signs the message itself. Throws `DIGEST_NOT_SUPPORTED` as `assertSignable`, and `failed_precondition`, reason
 * `MESSAGE_TOO_LARGE`, for an Ed25519 message of more than 4096 bytes.
 */
export const signInput = (version: KeyVersion, toSign: ToSign): SignCommandInput => {
  assertSignable(version.algorithm, toSign.kind);
  const { hash } = algorithms[version.algorithm];
  const common = { KeyId: version.version, SigningAlgorithm: signingAlgorithm(version.algorithm) };
  if (toSign.kind === 'digest') return { ...common, MessageType: 'DIGEST', Message: toSign.digest };
  if (hash !== undefined) {
    return { ...common, MessageType: 'DIGEST', Message: createHash(hash).update(toSign.message).digest() };
  }
  if (toSign.message.length <= maxRawBytes) return { ...common, MessageType: 'RAW', Message: toSign.message };
  throw new CountersignError(
    'failed_precondition',
    'MESSAGE_TOO_LARGE',
    `AWS KMS signs Ed25519 messages of at most ${maxRawBytes} bytes, and this one has ${toSign.message.length}: use an ECDSA ` +
      'or RSA key, which sign digests.',
  );
};

/**
 * Sign's answer -> the signature. Throws `data_loss`: `KEY_VERSION_MISMATCH` when another key signed, or
 * `KEY_ANSWER_MALFORMED`.
 */
export const readSignature = (answer: unknown, version: KeyVersion, kms: string): Uint8Array => {
  const parsed = signAnswer.safeParse(answer);
  if (!parsed.success) throw awsGarbage(kms, 'no signature');
  const { KeyId, SigningAlgorithm, Signature } = parsed.data;
  if (KeyId !== version.version) {
    throw new CountersignError(
      'data_loss',
      'KEY_VERSION_MISMATCH',
      `${kms} signed with another key than ${version.version}; the signature was dropped.`,
    );
  }
  if (SigningAlgorithm !== signingAlgorithm(version.algorithm)) throw awsGarbage(kms, 'another algorithm signed');
  return Signature;
};

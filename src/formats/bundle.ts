import { hash } from 'node:crypto';
import { encodeBase64 } from '../codec/base64.ts';
import { pae } from '../codec/pae.ts';
import { isJsonObject, parseStrictJson } from '../codec/strict-json.ts';
import type { AlgorithmName } from '../model/algorithm.ts';
import { digestHex } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { KeyVersion, Sealed, Signable } from '../model/signature.ts';
import { assertNotConfusable } from './blob-content.ts';
import { bundleSchema, hashes, legacyBundleSchema } from './bundle-schema.ts';
import { jsonString } from './cosign-json.ts';
import { envelopeSchema, openEnvelope, parseAs } from './envelope.ts';
import { materialOf } from './legacy-annotations.ts';
import { malformed, maxSignatureBytes, maxSignatureDepth } from './malformed.ts';
import type { Opened, SignatureFormat } from './port.ts';
import { buildStatement, inTotoPayloadType, signPredicateType } from './statement.ts';

const mediaType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const mediaTypePrefix = 'application/vnd.dev.sigstore.bundle';

type Blob = Extract<Signable, { kind: 'blob' }>;

/** The statement that goes into the envelope: the given one, or for an image the one that `cosign sign` (3.1.1) writes. */
const statementOf = (signable: Exclude<Signable, Blob>): { statement: Uint8Array; predicateType: string } =>
  signable.kind === 'statement'
    ? signable
    : {
        predicateType: signPredicateType,
        statement: buildStatement({
          subjects: [{ digest: signable.digest, annotations: signable.annotations }],
          predicateType: signPredicateType,
          predicate: {},
          version: 'v1',
        }),
      };

/** The hash of an algorithm, by its name; Ed25519 has none and its bundles name the blob by SHA-256. */
const hashOf = (algorithm: AlgorithmName): keyof typeof hashes => {
  if (algorithm.endsWith('-sha384')) return 'sha384';
  return algorithm.endsWith('-sha512') ? 'sha512' : 'sha256';
};

const messageDigest = (
  blob: Blob,
  algorithm: AlgorithmName,
): { readonly algorithm: string; readonly digest: string } => {
  const name = hashOf(algorithm);
  if (name === 'sha256') {
    return { algorithm: hashes.sha256.name, digest: Buffer.from(digestHex(blob.digest), 'hex').toString('base64') };
  }
  if (blob.content === undefined) {
    throw new CountersignError(
      'failed_precondition',
      'DIGEST_NOT_SUPPORTED',
      `A key of algorithm ${algorithm} needs the content of the blob; send it instead of its digest.`,
    );
  }
  return { algorithm: hashes[name].name, digest: hash(name, blob.content, 'base64') };
};

const content = (signable: Signable, signature: Uint8Array, algorithm: AlgorithmName): string => {
  if (signable.kind === 'blob') {
    const { algorithm: name, digest } = messageDigest(signable, algorithm);
    return (
      `"messageSignature":{"messageDigest":{"algorithm":"${name}","digest":"${digest}"},` +
      `"signature":"${encodeBase64(signature)}"}`
    );
  }
  return (
    `"dsseEnvelope":{"payload":"${encodeBase64(statementOf(signable).statement)}",` +
    `"payloadType":"${inTotoPayloadType}","signatures":[{"sig":"${encodeBase64(signature)}"}]}`
  );
};

const seal = (signable: Signable, signature: Uint8Array, key: KeyVersion, now: Date): Sealed => ({
  format: 'bundle',
  mediaType,
  content: Buffer.from(
    `{"mediaType":"${mediaType}","verificationMaterial":{"publicKey":{"hint":${jsonString(key.hint)}}},` +
      `${content(signable, signature, key.algorithm)}}`,
  ),
  signature,
  attachment: {
    by: 'referrer',
    artifactType: mediaType,
    annotations: {
      'dev.sigstore.bundle.content': signable.kind === 'blob' ? 'message-signature' : 'dsse-envelope',
      ...(signable.kind === 'blob' ? {} : { 'dev.sigstore.bundle.predicateType': statementOf(signable).predicateType }),
      'org.opencontainers.image.created': `${now.toISOString().slice(0, 19)}Z`,
    },
  },
});

const open = (bytes: Uint8Array): Opened => {
  const json = parseStrictJson(bytes, { maxBytes: maxSignatureBytes, maxDepth: maxSignatureDepth });
  if (isJsonObject(json) && Object.hasOwn(json, 'base64Signature')) return openLegacy(json);
  const bundle = parseAs('BUNDLE', bundleSchema, json);
  const { publicKey } = bundle.verificationMaterial;
  const common = { format: 'bundle', material: publicKey ? 'key' : 'certificate' } as const;
  const hint = publicKey?.hint ? publicKey.hint : undefined;
  if (bundle.dsseEnvelope) {
    // Of the two unsigned hints the bundle's own is the one that Sigstore defines.
    return { ...common, ...openEnvelope(bundle.dsseEnvelope), messageDigest: undefined, keyHint: hint };
  }
  if (!bundle.messageSignature) throw malformed('BUNDLE', 'it holds no signature');
  return {
    ...common,
    signature: bundle.messageSignature.signature,
    message: undefined,
    messageDigest: bundle.messageSignature.messageDigest?.digest ?? undefined,
    keyHint: hint,
    content: { kind: 'blob' },
  };
};

const openLegacy = (json: unknown): Opened => {
  const { base64Signature, cert } = parseAs('BUNDLE', legacyBundleSchema, json);
  const material = materialOf(isPublicKey(cert ?? '') ? undefined : (cert ?? undefined));
  const common = { format: 'bundle', messageDigest: undefined, material } as const;
  const envelope = envelopeIn(base64Signature);
  if (envelope !== undefined) return { ...common, ...openEnvelope(parseAs('ENVELOPE', envelopeSchema, envelope)) };
  return { ...common, signature: base64Signature, message: undefined, keyHint: undefined, content: { kind: 'blob' } };
};

/** Without a certificate cosign may write its public key there: PEM in base64. */
const isPublicKey = (cert: string): boolean =>
  Buffer.from(cert, 'base64').toString('latin1').startsWith('-----BEGIN PUBLIC KEY-----');

/** cosign's `attest-blob` puts a whole DSSE envelope where `sign-blob` puts the signature. */
const envelopeIn = (signature: Uint8Array): unknown => {
  if (signature[0] !== 0x7b) return undefined;
  try {
    const json = parseStrictJson(signature, { maxBytes: maxSignatureBytes, maxDepth: maxSignatureDepth });
    return isJsonObject(json) && Object.hasOwn(json, 'payloadType') ? json : undefined;
  } catch {
    return undefined; // a signature that happens to begin with a brace
  }
};

/**
 * A Sigstore bundle v0.3 with a public key's hint (sigstore_bundle.proto; cosign BUNDLE_SPEC), byte for byte as cosign
 * 3.1.1 writes it. Opens v0.1 to v0.3 and cosign's older blob bundle. Lies as a referrer of the image.
 */
export const bundle: SignatureFormat = {
  name: 'bundle',
  message: (signable) => {
    if (signable.kind !== 'blob') {
      return { kind: 'message', message: pae(inTotoPayloadType, statementOf(signable).statement) };
    }
    if (signable.content === undefined) {
      return { kind: 'digest', digest: Buffer.from(digestHex(signable.digest), 'hex') };
    }
    assertNotConfusable(signable.content);
    return { kind: 'message', message: signable.content };
  },
  seal: (signable, _toSign, signature, key, now) => seal(signable, signature, key, now),
  reads: (type) => type.startsWith(mediaTypePrefix),
  open,
};

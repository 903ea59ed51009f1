import { z } from 'zod';
import { base64Bytes, bundledEnvelopeSchema } from './envelope.ts';

/** sigstore-go's limits (GHSA-cq38-jh5f-37mq); the certificates and proof hashes are ours. */
const maxEntries = 32;
const maxTimestamps = 32;
const maxCertificates = 16;
/** A log of 2^64 entries has audit paths of 64 hashes. */
const maxProofHashes = 64;

/** The count is checked before any element is looked at. */
const list = <T extends z.ZodType>(element: T, max: number) =>
  z.array(z.unknown()).max(max, `has more than ${max} entries`).pipe(z.array(element)).nullish();

/** protojson: an int64 is text, a number is allowed; none of ours may be negative. Absent and null mean 0. */
const int64 = z
  .union([z.string().regex(/^(?:0|[1-9][0-9]{0,18})$/, 'is not a number from 0 on'), z.int().min(0)])
  .nullish();

const tlogEntry = z.strictObject({
  logIndex: int64,
  logId: z.strictObject({ keyId: base64Bytes }),
  kindVersion: z.strictObject({ kind: z.string().min(1), version: z.string().min(1) }),
  integratedTime: int64,
  inclusionPromise: z.strictObject({ signedEntryTimestamp: base64Bytes }).nullish(),
  inclusionProof: z
    .strictObject({
      logIndex: int64,
      rootHash: base64Bytes,
      treeSize: int64,
      hashes: list(base64Bytes, maxProofHashes),
      checkpoint: z.strictObject({ envelope: z.string().min(1) }).nullish(),
    })
    .nullish(),
  canonicalizedBody: base64Bytes,
});

const certificate = z.strictObject({ rawBytes: base64Bytes });

const verificationMaterial = z.strictObject({
  publicKey: z.strictObject({ hint: z.string().nullish() }).nullish(),
  certificate: certificate.nullish(),
  x509CertificateChain: z.strictObject({ certificates: list(certificate, maxCertificates) }).nullish(),
  tlogEntries: list(tlogEntry, maxEntries),
  timestampVerificationData: z
    .strictObject({ rfc3161Timestamps: list(z.strictObject({ signedTimestamp: base64Bytes }), maxTimestamps) })
    .nullish(),
});

/** Name and number of each hash that a message digest may be made with, and its bytes. */
export const hashes = {
  sha256: { name: 'SHA2_256', number: 1, bytes: 32 },
  sha384: { name: 'SHA2_384', number: 2, bytes: 48 },
  sha512: { name: 'SHA2_512', number: 3, bytes: 64 },
} as const;

/** cosign 3.1 writes `{}` with an Ed25519 key; the digest only says which blob is meant, the signature covers the blob. */
const messageDigest = z
  .strictObject({ algorithm: z.union([z.string(), z.int()]).nullish(), digest: base64Bytes.nullish() })
  .refine(
    ({ algorithm, digest }) =>
      (!algorithm && !digest) ||
      Object.values(hashes).some(
        (hash) => (hash.name === algorithm || hash.number === algorithm) && hash.bytes === digest?.length,
      ),
    'is not a SHA-256, SHA-384 or SHA-512 digest of the length that it says',
  );

const messageSignature = z.strictObject({ messageDigest: messageDigest.nullish(), signature: base64Bytes });

const mediaTypes = {
  'application/vnd.dev.sigstore.bundle+json;version=0.1': 1,
  'application/vnd.dev.sigstore.bundle+json;version=0.2': 2,
  'application/vnd.dev.sigstore.bundle+json;version=0.3': 3,
  'application/vnd.dev.sigstore.bundle.v0.3+json': 3,
} as const;
type MediaType = keyof typeof mediaTypes;

/** What is written and how much of it there is; `one` says that exactly one of some members must be there. */
const one = (members: readonly unknown[]): boolean =>
  members.filter((member) => member !== undefined && member !== null).length === 1;

/**
 * A Sigstore bundle v0.1 to v0.3 (sigstore_bundle.proto and its JSON mapping): camelCase names, unknown members refused,
 * bytes in canonical base64. The log entries and timestamps are bounded and have the right shape; nobody verified them.
 */
export const bundleSchema = z
  .strictObject({
    mediaType: z.custom<MediaType>(
      (type) => typeof type === 'string' && Object.hasOwn(mediaTypes, type),
      'is not that of a Sigstore bundle v0.1, v0.2 or v0.3',
    ),
    verificationMaterial,
    messageSignature: messageSignature.nullish(),
    dsseEnvelope: bundledEnvelopeSchema.nullish(),
  })
  .superRefine((bundle, context) => {
    const refuse = (path: string, message: string): void =>
      context.addIssue({ code: 'custom', path: path.split('.'), message });
    const version = mediaTypes[bundle.mediaType];
    const { publicKey, certificate, x509CertificateChain: chain, tlogEntries } = bundle.verificationMaterial;
    if (!one([bundle.messageSignature, bundle.dsseEnvelope])) {
      refuse('messageSignature', 'exactly one of messageSignature and dsseEnvelope must be there');
    }
    if (!one([publicKey, certificate, chain])) {
      refuse('verificationMaterial', 'exactly one of publicKey, certificate and x509CertificateChain must be there');
    }
    if (chain && (chain.certificates ?? []).length === 0) {
      refuse('verificationMaterial.x509CertificateChain', 'has no certificate');
    }
    if (chain && version === 3) refuse('verificationMaterial', 'a v0.3 bundle has no x509CertificateChain');
    for (const [index, entry] of (tlogEntries ?? []).entries()) {
      const path = `verificationMaterial.tlogEntries.${index}`;
      if (version === 1 && !entry.inclusionPromise) refuse(path, 'a v0.1 bundle needs inclusionPromise');
      if (version > 1 && !entry.inclusionProof?.checkpoint) refuse(path, 'needs inclusionProof with its checkpoint');
    }
  });

/** cosign's own blob bundle before v3 (`LocalSignedPayload`). */
export const legacyBundleSchema = z.object({
  base64Signature: base64Bytes,
  cert: z.string().nullish(),
  rekorBundle: z.unknown().optional(),
});

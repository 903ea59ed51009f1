import type { AlgorithmName } from './algorithm.ts';
import type { Digest } from './digest.ts';

/** The formats that signatures and attestations can take; `formats/` holds one file each. */
export type FormatName = 'simple-signing' | 'dsse' | 'bundle';

/** The public half of the one key version that made, or would make, a signature. */
export type KeyVersion = {
  /** The configured name of the key. */
  readonly key: string;
  /** The member that signs, where the key is a group of keys. */
  readonly member?: string;
  /** The backend's own, immutable id of the version: `3` in Vault, the digest of the public key for a local key. */
  readonly version: string;
  readonly algorithm: AlgorithmName;
  /** SubjectPublicKeyInfo, DER (RFC 5280 section 4.1.2.7). */
  readonly spki: Uint8Array;
  /** base64(SHA-256(spki)): `publicKey.hint` of a Sigstore bundle. */
  readonly hint: string;
};

/** What is signed. */
export type Signable =
  /** An image, with the annotations that the signature shall carry. */
  | {
      readonly kind: 'image';
      /** `host/path`, the "docker-reference" of simple signing */
      readonly repository: string;
      readonly digest: Digest;
      readonly annotations: Readonly<Record<string, string>>;
    }
  /** A blob. Without `content` only its digest can be signed (not possible for every algorithm). */
  | { readonly kind: 'blob'; readonly name: string; readonly digest: Digest; readonly content: Uint8Array | undefined }
  /** An in-toto statement, already serialized: the exact bytes that go into the envelope. */
  | {
      readonly kind: 'statement';
      readonly predicateType: string;
      readonly digest: Digest;
      readonly statement: Uint8Array;
    };

/** What a key is asked to sign: a message that it (or we) hash, or a digest made elsewhere. */
export type ToSign =
  | { readonly kind: 'message'; readonly message: Uint8Array }
  /** A SHA-256 digest, 32 bytes, of something whose content is not at hand. */
  | { readonly kind: 'digest'; readonly digest: Uint8Array };

/** A finished signature in one format: the exact bytes, and how they want to be attached to an image. */
export type Sealed = {
  readonly format: FormatName;
  /** Media type of `content`. */
  readonly mediaType: string;
  /** The exact bytes: the simple-signing payload, the DSSE envelope JSON or the bundle JSON. */
  readonly content: Uint8Array;
  readonly signature: Uint8Array;
  readonly attachment: /** A layer of the image at tag `sha256-<hex>.<suffix>` (cosign's legacy layout). */
    | { readonly by: 'tag'; readonly suffix: 'sig' | 'att'; readonly annotations: Readonly<Record<string, string>> }
    /** A manifest of its own with `subject` (OCI 1.1 referrer, or the fallback tag). */
    | {
        readonly by: 'referrer';
        readonly artifactType: string;
        readonly annotations: Readonly<Record<string, string>>;
      };
};

/** Where a signature lies. */
export type StoredAt = {
  /** `host/path` */
  readonly repository: string;
  /** The manifest that holds it. */
  readonly digest: Digest;
  readonly by: 'tag' | 'referrer' | 'fallback-tag';
  /** `sha256-<hex>.sig`, `sha256-<hex>` ...; of a true referrer only where the fallback tag lists it as well. */
  readonly tag: string | undefined;
};

/** A signature found beside an image: raw, nothing verified yet. */
export type Attached = {
  readonly storedAt: StoredAt;
  readonly mediaType: string;
  readonly content: Uint8Array;
  /** The layer descriptor's annotations (legacy layout) or the manifest's (referrer). */
  readonly annotations: Readonly<Record<string, string>>;
};

/** Annotations that countersign itself puts into what it signs: who asked, which rule allowed it, when. Callers may not set them. */
export const reservedAnnotationPrefix = 'dev.countersign/';
export const signedBy = {
  issuer: `${reservedAnnotationPrefix}issuer`,
  subject: `${reservedAnnotationPrefix}subject`,
  rule: `${reservedAnnotationPrefix}rule`,
  policy: `${reservedAnnotationPrefix}policy`,
  /** RFC 3339, UTC */
  time: `${reservedAnnotationPrefix}time`,
  audit: `${reservedAnnotationPrefix}audit`,
} as const;

/**
 * Annotations beside a signature, which nobody signed: they only say where to look before another is made. `content`: of what was
 * signed, by which key version, in which format; `request`: of the caller and the id of its request. SHA-256, hex.
 */
export const marks = {
  content: `${reservedAnnotationPrefix}content`,
  request: `${reservedAnnotationPrefix}request`,
} as const;

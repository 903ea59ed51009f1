import type { Subject } from './subject.ts';
import type { FormatName } from './signature.ts';

/** Where the result goes: beside the image, or only back to the caller. */
export type Storage =
  | {
      readonly kind: 'attach' /** `host/path` instead of the image's own repository */;
      readonly repository: string | undefined;
    }
  | { readonly kind: 'return' };

/** A decoded, validated Sign request. */
export type SignCommand = {
  readonly subject: Subject;
  readonly key: string;
  /** No duplicates; none: those configured for the subject. */
  readonly formats: readonly FormatName[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly storage: Storage;
  /** Is an equal signature that is there already the answer? */
  readonly ifAbsent: boolean;
  /** With every manifest below an index, of these platforms (none: of all). */
  readonly recursive: { readonly platforms: readonly string[] } | undefined;
};

/** A decoded, validated Attest request. */
export type AttestCommand = SignCommand & {
  /** The predicate type URI (or a short name that `predicates/` knows). */
  readonly predicateType: string;
  /** The predicate: JSON, UTF-8. */
  readonly predicate: Uint8Array;
};

/** A decoded, validated Verify request. */
export type VerifyCommand = {
  readonly subject: Subject;
  /** Configured keys and PEM public keys that count; at least one. */
  readonly keys: readonly TrustedKey[];
  readonly expect: { readonly kind: 'signature' } | { readonly kind: 'attestation'; readonly predicateType: string };
  /** All of these must be in the signed content, with these values. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Signatures that the caller brings (bundles, envelopes); for an image, besides those found in its registry. */
  readonly provided: readonly Uint8Array[];
  /** `host/path` where signatures lie when that is not the image's own repository. */
  readonly repository: string | undefined;
};

export type TrustedKey =
  | { readonly kind: 'configured'; readonly name: string }
  | { readonly kind: 'pem'; readonly pem: string };

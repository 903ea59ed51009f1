import type { AlgorithmName } from '../model/algorithm.ts';
import type { VerifyCommand } from '../model/command.ts';
import type { Digest } from '../model/digest.ts';
import type { Attached, KeyVersion, Sealed, StoredAt, ToSign } from '../model/signature.ts';

/** A public key that counts, by the name that a verdict shows: the configured one, or `pem:<hint>`. */
export type VerificationKey = Pick<KeyVersion, 'algorithm' | 'spki' | 'hint'> & {
  readonly name: string;
  /** Others that it may have signed with: an RSA key in PEM does not say with which padding and hash it is used. */
  readonly otherAlgorithms?: readonly AlgorithmName[];
};

/** What is verified. A blob's digest is that of its content; without the content, only its digest is known. */
export type VerificationSubject =
  | { readonly kind: 'image'; readonly digest: Digest }
  | { readonly kind: 'blob'; readonly digest: Digest; readonly content: Uint8Array | undefined };

/** What must hold for a signature to count. */
export type Question = {
  readonly subject: VerificationSubject;
  /** One of these must have signed. */
  readonly keys: readonly VerificationKey[];
  /** For an attestation: the exact URI of its predicate type. */
  readonly expect: VerifyCommand['expect'];
  /** All of these must be in the signed content, with these values. */
  readonly annotations: Readonly<Record<string, string>>;
  /** A signature that was verified with the one key of this question already: equal bytes are not computed again. */
  readonly verified?: { readonly toSign: ToSign; readonly signature: Uint8Array };
};

/** Bytes that may be a signature. `mediaType` is undefined for what a caller brings: then the bytes themselves tell. */
export type Candidate = {
  readonly content: Uint8Array;
  readonly mediaType: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  readonly storedAt: StoredAt | undefined;
};

/** What the registry holds beside an image. */
export const attachedCandidate = (attached: Attached): Candidate => attached;

/** What a caller brings: bytes that say themselves what they are. */
export const providedCandidate = (content: Uint8Array): Candidate => ({
  content,
  mediaType: undefined,
  annotations: {},
  storedAt: undefined,
});

/** What was just sealed, as a verifier will find it. */
export const sealedCandidate = (sealed: Sealed): Candidate => ({
  content: sealed.content,
  mediaType: sealed.mediaType,
  annotations: sealed.attachment.annotations,
  storedAt: undefined,
});

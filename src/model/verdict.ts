import type { Digest } from './digest.ts';
import type { FormatName, StoredAt } from './signature.ts';

/** One named step of verification and how it ended. */
export type Step = { readonly name: string; readonly passed: boolean; readonly detail: string };

/** One signature that was found, and why it counts or does not. */
export type SignatureVerdict = {
  readonly counts: boolean;
  /** A stable word for programs (`WRONG_KEY`, `DIGEST_MISMATCH`, ...); `OK` when it counts. */
  readonly reason: string;
  /** A sentence for people. */
  readonly message: string;
  readonly format: FormatName | 'unknown';
  readonly mediaType: string;
  /** Undefined for a signature that the caller brought. */
  readonly storedAt: StoredAt | undefined;
  /** The trusted key that verified it: its configured name, or `pem:<hint>`. */
  readonly key: string | undefined;
  readonly keyHint: string | undefined;
  readonly predicateType: string | undefined;
  /** Annotations in the signed content (not those of the manifest, which nobody signed). */
  readonly annotations: Readonly<Record<string, string>>;
  /** The in-toto statement, exact bytes, when there is one and it counts. */
  readonly statement: Uint8Array | undefined;
  readonly steps: readonly Step[];
};

export type Verdict = {
  readonly verified: boolean;
  /** One sentence: why. */
  readonly summary: string;
  /** The digest that the subject resolved to. */
  readonly digest: Digest;
  readonly signatures: readonly SignatureVerdict[];
  /** What the caller should know: sentences. */
  readonly notices: readonly string[];
};

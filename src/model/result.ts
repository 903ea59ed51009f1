import type { Decision } from './decision.ts';
import type { Digest } from './digest.ts';
import type { KeyVersion, Sealed, StoredAt } from './signature.ts';

/** One signature in one format, and where it was stored (undefined: only returned). */
export type StoredSignature = { readonly sealed: Sealed; readonly stored: StoredAt | undefined };

/** What Sign and Attest answer. */
export type SignResult = {
  readonly digest: Digest;
  /** `host/path` of the image, or the blob's name. */
  readonly name: string;
  /** One entry a format, in the order of the command. */
  readonly outputs: readonly StoredSignature[];
  readonly key: KeyVersion;
  readonly decision: Decision;
  /** Id of the `intended` audit record. */
  readonly auditId: string;
  /** Only for Attest: the predicate type URI. */
  readonly predicateType: string | undefined;
};

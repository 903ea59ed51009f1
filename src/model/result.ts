import type { Decision } from './decision.ts';
import type { Digest } from './digest.ts';
import type { KeyVersion, Sealed, StoredAt } from './signature.ts';

/** One signature in one format, and where it was stored (undefined: only returned). */
export type StoredSignature = {
  readonly sealed: Sealed;
  readonly stored: StoredAt | undefined;
  /** It was there already, verified; nothing was signed. */
  readonly existing: boolean;
};

/** What Sign and Attest answer. */
export type SignResult = {
  readonly digest: Digest;
  /** `host/path` of the image, or the blob's name. */
  readonly name: string;
  /** One entry a format, in the order of the command; then those of layouts that the image carries besides. */
  readonly outputs: readonly StoredSignature[];
  readonly key: KeyVersion;
  readonly decision: Decision;
  /** Id of the `intended` audit record; of the `existing` one when nothing was signed. */
  readonly auditId: string;
  /** Only for Attest: the predicate type URI. */
  readonly predicateType: string | undefined;
  /** What the caller should know: sentences. */
  readonly notices: readonly string[];
  /** What was signed below an index, in its order. */
  readonly nested: readonly NestedResult[];
};

/** A manifest below an index, signed with it. */
export type NestedResult = Pick<SignResult, 'digest' | 'outputs' | 'key' | 'auditId' | 'notices'> & {
  readonly platform: string | undefined;
};

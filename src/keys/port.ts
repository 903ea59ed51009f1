import type { Context } from '../model/context.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';
import type { CountersignError } from '../model/error.ts';

/** How well a key is guarded, weakest first. A fact that the backend states, never a wish. */
export type ProtectionLevel = 'software' | 'hsm' | 'fips-140-2-l2' | 'fips-140-2-l3' | 'fips-140-3-l3';

/** Where the key material came from, as far as the backend states it: made in it, or brought to it. */
export type KeyOrigin = 'generated' | 'imported' | 'external' | 'unknown';

/** Can the version sign, and if not, why. `pending`: not made yet; `pending-deletion`: scheduled, can be taken back. */
export type VersionState =
  | 'enabled'
  | 'disabled'
  | 'pending'
  | 'not-yet-valid'
  | 'expired'
  | 'pending-deletion'
  | 'destroyed';

/** What a backend says of a version besides its public key. Times are RFC 3339, UTC; undefined when it does not say. */
export type VersionFacts = {
  readonly state: VersionState;
  readonly createdAt: string | undefined;
  /** It signs from then on, and until then. */
  readonly validFrom?: string | undefined;
  readonly validUntil?: string | undefined;
};

/** One version as the backend lists it. */
export type ListedVersion = KeyVersion & VersionFacts;

/** A version whose public key the backend does not give (any more): shown, but nothing can be verified with it. */
export type OpaqueVersion = VersionFacts & { readonly version: string };

/** Everything that is known of an open key. */
export type KeyDescription = {
  readonly name: string;
  /** The kind of backend, as `kind` in the configuration: for example `vault`. */
  readonly backend: string;
  readonly protectionLevel: ProtectionLevel;
  /** What the protection level was concluded from: the backend's own fields and values, at most 16 of 1 KiB; no secret. */
  readonly evidence: Readonly<Record<string, string>>;
  readonly origin: KeyOrigin;
  /** When the backend was last asked, RFC 3339, UTC. */
  readonly checkedAt: string;
  /** The version that signs, pinned until the key is opened again. */
  readonly signing: KeyVersion;
  /** All versions with their public keys as last read, newest first; old ones still verify. */
  readonly versions: readonly ListedVersion[];
  readonly opaque: readonly OpaqueVersion[];
  /** Why the backend could not be asked again, when the last try failed: for people. */
  readonly problem?: string;
  /** Of a group: its members in order, the public key of each (`hint`, empty when unknown), and why one is passed over. */
  readonly members?: readonly { readonly name: string; readonly hint: string; readonly problem: string }[];
};

/**
 * An open key. Safe to call concurrently.
 *
 * `sign` answers with a signature by exactly `description.signing`, as `model/algorithm.ts` says (ECDSA in DER). It makes
 * one attempt (and one more after a credential that expired was renewed): retries, quota and verification are the
 * keyring's, the same for every kind. Errors: `unavailable` or `resource_exhausted` (throttled) with `retryAfterMs` where
 * another attempt may succeed; `failed_precondition` for everything an operator has to mend, with a reason of its own:
 * `KEY_DISABLED`, `KEY_PENDING`, `KEY_NOT_YET_VALID`, `KEY_EXPIRED`, `KEY_PENDING_DELETION`, `KEY_DESTROYED`,
 * `KEY_NOT_FOUND`, `KEY_UNSUPPORTED`, `KEY_ACCESS_DENIED`; `data_loss` for an answer that cannot be used. `permission_denied`
 * is never used for the backend's own refusals, since the caller did nothing wrong.
 *
 * A key is not changed after it was opened: rotation is seen by opening it again (`keys/keyring.ts` does so in time).
 */
export interface Key {
  readonly description: KeyDescription;
  sign(toSign: ToSign, context: Context): Promise<Uint8Array>;
  /**
   * Many at once, where the backend can: answers in order, an error for each that failed; rejects when all of it failed.
   * At most `maxBatch` each call.
   */
  readonly signMany?: (
    toSigns: readonly ToSign[],
    context: Context,
  ) => Promise<readonly (Uint8Array | CountersignError)[]>;
  /** Frees sockets and timers. */
  close(): Promise<void>;
}

/** The most messages that one call of `signMany` takes. */
export const maxBatch = 100;

/** The version alone, of a version as it is listed. */
export const versionOf = ({ key, version, algorithm, spki, hint }: ListedVersion): KeyVersion => ({
  key,
  version,
  algorithm,
  spki,
  hint,
});

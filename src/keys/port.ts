import type { Context } from '../model/context.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';

/** How well a key is guarded, weakest first. A fact that the backend states, never a wish. */
export type ProtectionLevel = 'software' | 'hsm' | 'fips-140-2-l2' | 'fips-140-2-l3' | 'fips-140-3-l3';

/** One version as the backend lists it. */
export type ListedVersion = KeyVersion & {
  readonly state: 'enabled' | 'disabled' | 'destroyed';
  /** RFC 3339, UTC; undefined when the backend does not say. */
  readonly createdAt: string | undefined;
};

/** Everything that is known of an open key. */
export type KeyDescription = {
  readonly name: string;
  /** The kind of backend, as `kind` in the configuration: for example `vault`. */
  readonly backend: string;
  readonly protectionLevel: ProtectionLevel;
  /** The version that signs, pinned until the key is opened again. */
  readonly signing: KeyVersion;
  /** All versions as last read, newest first; old ones still verify. */
  readonly versions: readonly ListedVersion[];
};

/**
 * An open key. Safe to call concurrently.
 *
 * `sign` answers with a signature by exactly `description.signing`, as `model/algorithm.ts` says (ECDSA in DER).
 * It does not verify it: `keys/keyring.ts` does, for every kind. Errors: `unavailable` (retryable, with a delay; a sealed backend too),
 * `resource_exhausted` (throttled), `failed_precondition` (disabled or deleted key, or an algorithm that cannot
 * sign a bare digest), `permission_denied` is never used for the backend's own refusals: those are
 * `failed_precondition` with reason `KEY_ACCESS_DENIED`, since the caller did nothing wrong.
 */
export interface Key {
  readonly description: KeyDescription;
  sign(toSign: ToSign, context: Context): Promise<Uint8Array>;
  /** Frees sockets and timers. */
  close(): Promise<void>;
}

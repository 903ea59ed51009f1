import { type Context, openContext } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { waitFor } from '../model/wait.ts';
import type { KeySource } from './discovery.ts';
import { type KeySet, parseKeySet, type VerificationKey } from './key-set.ts';
import { unauthenticated } from './unauthenticated.ts';

/** Milliseconds. */
const keyCacheTimes = {
  /** Older keys are still used, and fetched again in the background. */
  refreshAfter: 5 * 60_000,
  /** Older keys are used only when a fetch has just failed. */
  freshFor: 10 * 60_000,
  /** Older keys are not used at all. */
  staleFor: 24 * 3_600_000,
  /** One extra fetch per this time (two at once at most) may be caused by unknown key ids, or tried after a failure. */
  cooldown: 5_000,
  /** How long one fetch may take. */
  fetchTimeout: 5_000,
} as const;

/** The keys of one issuer, fetched when needed and kept. Safe to call concurrently; one fetch at a time. */
export type KeyCache = {
  /**
   * The keys with this id; at least one. Throws `unauthenticated` (`KEY_UNKNOWN`: the issuer has no such key) or
   * `unavailable` (`ISSUER_UNAVAILABLE`, with a delay: it cannot be asked and nothing usable is kept).
   */
  find(keyId: string, context: Context): Promise<readonly VerificationKey[]>;
  /** Is this key still among the issuer's keys, as far as is known? */
  holds(key: VerificationKey): boolean;
  /** Fetches now. Rejects like `find`. */
  warm(context: Context): Promise<void>;
};

/** `now`: milliseconds on any clock that does not jump back. */
export const createKeyCache = (issuer: string, source: KeySource, now: () => number): KeyCache => {
  let keys: KeySet | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;
  let failure: unknown;
  let flight: Promise<boolean> | undefined;
  // Token bucket of two for fetches that strangers can cause by inventing key ids.
  let spareFetches = 2;
  let spareSince = now();

  const load = async (): Promise<boolean> => {
    const owned = openContext(`keys of ${issuer}`, keyCacheTimes.fetchTimeout);
    try {
      keys = parseKeySet(await waitFor(source(owned.context), owned.context), keys);
      fetchedAt = now();
      failedAt = Number.NEGATIVE_INFINITY;
      return true;
    } catch (error) {
      failure = error;
      failedAt = now();
      return false;
    } finally {
      owned.dispose();
    }
  };

  /** Fetches, or joins the fetch that is under way; right after a failure it fails at once. Never rejects. */
  const refresh = (): Promise<boolean> => {
    if (flight === undefined && now() - failedAt < keyCacheTimes.cooldown) return Promise.resolve(false);
    flight ??= load().finally(() => {
      flight = undefined;
    });
    return flight;
  };

  const unavailable = (): CountersignError =>
    new CountersignError(
      'unavailable',
      'ISSUER_UNAVAILABLE',
      `The keys of the token's issuer (${issuer}) cannot be fetched now, so the token cannot be checked; try again.`,
      { retryAfterMs: Math.max(1, Math.ceil(failedAt + keyCacheTimes.cooldown - now())), cause: failure },
    );

  const takeSpareFetch = (): boolean => {
    const earned = Math.floor((now() - spareSince) / keyCacheTimes.cooldown);
    if (earned > 0) {
      spareFetches = Math.min(2, spareFetches + earned);
      spareSince += earned * keyCacheTimes.cooldown;
    }
    if (spareFetches === 0) return false;
    spareFetches -= 1;
    return true;
  };

  const usable = async (context: Context): Promise<KeySet> => {
    const age = now() - fetchedAt;
    if (age > keyCacheTimes.freshFor) await waitFor(refresh(), context);
    else if (age > keyCacheTimes.refreshAfter) void refresh();
    if (keys === undefined || now() - fetchedAt > keyCacheTimes.staleFor) throw unavailable();
    return keys;
  };

  return {
    async find(keyId, context) {
      const known = (await usable(context)).get(keyId);
      if (known !== undefined) return known;
      // The issuer may have rotated its keys since the last fetch.
      if (flight !== undefined || takeSpareFetch()) {
        const refreshed = await waitFor(refresh(), context);
        const found = keys?.get(keyId);
        if (found !== undefined) return found;
        if (!refreshed) throw unavailable();
      }
      throw unauthenticated(
        'KEY_UNKNOWN',
        'The token is signed with a key that its issuer does not publish (unknown "kid"); request a new token.',
        keyCacheTimes.cooldown,
      );
    },
    holds(key) {
      const age = now() - fetchedAt;
      if (age > keyCacheTimes.refreshAfter) void refresh();
      return age <= keyCacheTimes.staleFor && (keys?.get(key.keyId)?.includes(key) ?? false);
    },
    async warm(context) {
      if (!(await waitFor(refresh(), context))) throw unavailable();
    },
  };
};

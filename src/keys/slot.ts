import { type Context, openContext } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import { waitFor } from '../model/wait.ts';
import { protects } from './common-settings.ts';
import type { Key, KeyDescription, ProtectionLevel } from './port.ts';

/** How one key is opened, and how often anew. */
export type KeyOpener = {
  readonly name: string;
  readonly requireProtection: ProtectionLevel | undefined;
  /** A key in use is opened anew when it is older than this, milliseconds; 0: never. */
  readonly refreshMs: number;
  /** Throws when the key must not be used for what its backend states. */
  readonly check?: ((description: KeyDescription) => void) | undefined;
  open(context: Context): Promise<Key>;
};

/**
 * One configured key: opened when it is first needed, once for all who wait; a failure is remembered for a moment. A key
 * in use is opened anew in the background every `refreshMs`, which is how a rotation and a change of state are seen;
 * whoever holds the old one signs with it to the end. Safe to call concurrently.
 */
export type Slot = {
  /** The open key. Waits for an opening, and for a new one where the key was not looked at for long or is no longer valid. */
  get(context: Context): Promise<Key>;
  /** As `get`; the key is not closed before `release` was called with it, once. */
  hold(context: Context): Promise<Key>;
  release(key: Key): void;
  /** After this error of `key` it is opened anew by whoever needs it next, if the error says that it cannot sign any more. */
  failed(key: Key, error: CountersignError): void;
  /** Opens the key anew now, whatever its age; rejects when that fails. */
  reopen(context: Context): Promise<Key>;
  /** Why the last opening in the background failed; undefined when it did not. */
  problem(): CountersignError | undefined;
  close(): Promise<void>;
};

/** Opening may take this long, whatever the deadline of the request that needed the key first. */
const openTimeoutMs = 15_000;
/** A key that failed to open is not tried again before this: a backend that is down is not asked by every request. */
const failedOpenMs = 5_000;
/** A key that was not looked at for so many times its `refreshMs` is looked at before it signs. */
const staleTimes = 5;
/** After these the pinned version no longer signs: the key is opened anew, and the newest version found. */
const staleReasons = new Set([
  'KEY_VERSION_DISABLED',
  'KEY_VERSION_MISMATCH',
  'KEY_VERSION_NOT_FOUND',
  'KEY_NOT_FOUND',
  'KEY_DISABLED',
  'KEY_PENDING',
  'KEY_PENDING_DELETION',
  'KEY_PENDING_IMPORT',
  'KEY_DESTROYED',
  'KEY_EXPIRED',
  'KEY_NOT_YET_VALID',
  'KEY_INVALID_STATE',
  'PROTECTION_LEVEL',
  'FIPS_REFUSED',
]);

type Settled = {
  readonly key: Key;
  /** On the clock of performance.now(): when it is due to be opened anew, ... */
  refreshAt: number;
  /** ... when that has to be waited for, and when it signs no more. */
  staleAt: number;
  readonly expiresAt: number;
};

const assertProtection = (opener: KeyOpener, { protectionLevel, backend }: KeyDescription): void => {
  const required = opener.requireProtection;
  if (required === undefined || protects(protectionLevel, required)) return;
  throw new CountersignError(
    'failed_precondition',
    'PROTECTION_LEVEL',
    `Key ${opener.name} must be guarded at level ${required}, but its backend (${backend}) states ${protectionLevel}.`,
    { metadata: { key: opener.name, required, stated: protectionLevel } },
  );
};

const openOne = async (opener: KeyOpener, closing: AbortSignal): Promise<Key> => {
  const owned = openContext(`open-key-${opener.name}`, openTimeoutMs);
  closing.addEventListener('abort', owned.cancel, { once: true });
  try {
    const key = await opener.open(owned.context);
    try {
      assertProtection(opener, key.description);
      opener.check?.(key.description);
      if (closing.aborted) throw shuttingDown();
    } catch (caught) {
      await key.close();
      throw caught;
    }
    return key;
  } finally {
    closing.removeEventListener('abort', owned.cancel);
    owned.dispose();
  }
};

/** A failure that may pass asks for another try when the key is tried again, not before. */
const retriedLater = (error: CountersignError): CountersignError => {
  const { code, reason, message, metadata, retryAfterMs } = error;
  if (retryAfterMs === undefined) return error;
  const later = Math.max(retryAfterMs, failedOpenMs);
  return new CountersignError(code, reason, message, { metadata, retryAfterMs: later, cause: error.cause ?? error });
};

export const shuttingDown = (): CountersignError =>
  new CountersignError('unavailable', 'SHUTTING_DOWN', 'The service is shutting down.');

/** When the version that signs ends, on the clock of performance.now(); Infinity when it does not. */
const endOf = ({ signing, versions }: KeyDescription): number => {
  const until = versions.find(({ version }) => version === signing.version)?.validUntil;
  return until === undefined ? Number.POSITIVE_INFINITY : performance.now() + Date.parse(until) - Date.now();
};

export const createSlot = (opener: KeyOpener): Slot => {
  let settled: Settled | undefined;
  let opening: Promise<Key> | undefined;
  let failedUntil = 0;
  let refreshing: Promise<void> | undefined;
  let problem: CountersignError | undefined;
  const closing = new AbortController();
  const uses = new Map<Key, number>();
  const retired = new Set<Key>();

  const closeUnused = (key: Key): void => {
    if (uses.has(key) || !retired.delete(key)) return;
    void key.close().catch(() => undefined);
  };
  const retire = (key: Key): void => {
    retired.add(key);
    closeUnused(key);
  };

  /** Jitter, so that replicas that started together do not ask together. */
  const due = (from: number): number =>
    opener.refreshMs === 0 ? Number.POSITIVE_INFINITY : from + opener.refreshMs * (0.9 + Math.random() / 5);

  const settle = (key: Key): Key => {
    const before = settled?.key;
    const now = performance.now();
    const expiresAt = endOf(key.description);
    settled = {
      key,
      refreshAt: Math.min(due(now), expiresAt),
      staleAt: opener.refreshMs === 0 ? Number.POSITIVE_INFINITY : now + opener.refreshMs * staleTimes,
      expiresAt,
    };
    problem = undefined;
    failedUntil = 0;
    if (before !== undefined) retire(before);
    return key;
  };

  const forget = (): void => {
    if (settled === undefined) return;
    const { key } = settled;
    settled = undefined;
    opening = undefined;
    retire(key);
  };

  const open = (): Promise<Key> => {
    opening = openOne(opener, closing.signal).then(settle, (caught: unknown) => {
      failedUntil = performance.now() + failedOpenMs;
      throw retriedLater(toCountersignError(caught));
    });
    return opening;
  };

  /** Opens anew beside the key in use, which stays when that fails in a way that may pass. Never rejects. */
  const refresh = (): Promise<void> => {
    refreshing ??= openOne(opener, closing.signal)
      .then(settle, (caught: unknown) => {
        problem = toCountersignError(caught);
        if (settled === undefined) return;
        if (staleReasons.has(problem.reason)) forget();
        else {
          settled.refreshAt = Math.min(due(performance.now()), settled.expiresAt);
          settled.staleAt = performance.now() + opener.refreshMs * staleTimes;
        }
      })
      .then(() => {
        refreshing = undefined;
      });
    return refreshing;
  };

  /** The open key, when nothing has to be waited for. */
  const fresh = (): Key | undefined =>
    settled !== undefined && performance.now() < settled.refreshAt ? settled.key : undefined;

  const get = async (context: Context): Promise<Key> => {
    if (settled !== undefined) {
      const now = performance.now();
      if (now < settled.refreshAt) return settled.key;
      if (now >= settled.expiresAt) forget();
      else {
        const refreshed = refresh();
        if (now < settled.staleAt) return settled.key;
        await waitFor(refreshed, context);
        if (settled !== undefined) return settled.key;
      }
    }
    if (closing.signal.aborted) throw shuttingDown();
    const expired = failedUntil !== 0 && performance.now() >= failedUntil;
    if (expired) failedUntil = 0;
    return waitFor(opening === undefined || expired ? open() : opening, context);
  };

  return {
    get,
    hold: async (context) => {
      let key = fresh() ?? (await get(context));
      // It may have been replaced, and closed, since it was found.
      while (key !== settled?.key) key = await get(context);
      uses.set(key, (uses.get(key) ?? 0) + 1);
      return key;
    },
    release: (key) => {
      const left = (uses.get(key) ?? 1) - 1;
      if (left > 0) uses.set(key, left);
      else uses.delete(key);
      closeUnused(key);
    },
    failed: (key, error) => {
      if (settled?.key === key && staleReasons.has(error.reason)) forget();
    },
    reopen: async (context) => {
      if (settled === undefined) {
        failedUntil = 0;
        opening = undefined;
        return get(context);
      }
      await waitFor(refresh(), context);
      if (problem !== undefined) throw problem;
      return get(context);
    },
    problem: () => problem,
    close: async () => {
      closing.abort();
      await Promise.allSettled([opening, refreshing]);
      const key = settled?.key;
      settled = undefined;
      opening = undefined;
      await key?.close();
    },
  };
};

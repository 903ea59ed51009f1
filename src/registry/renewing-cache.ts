import { type Context, openContext } from '../model/context.ts';
import { createCache } from './cache.ts';
import { createSingleFlight } from './single-flight.ts';

/** Something that ends: it is given out for `keepMs` from now, and renewed behind the scenes after `renewMs`; milliseconds. */
export type Renewable<T> = { readonly value: T; readonly keepMs: number; readonly renewMs: number };

/**
 * Keeps what is fetched until shortly before it ends. One fetch of a key runs at a time, whoever asks; its failure is everybody's who
 * waits, and is not kept. A renewal that fails behind the scenes is tried again 5 s later, and then by whoever asks.
 */
export type RenewingCache<T> = {
  get(key: string, context: Context, fetch: (context: Context) => Promise<Renewable<T>>): Promise<T>;
  /** What `get` would answer without waiting. Renews nothing. */
  held(key: string): T | undefined;
  drop(key: string): void;
};

type Entry<T> = { readonly value: T; renewAt: number };

const renewalPauseMs = 5_000;

/** `timeoutMs`: the longest that a fetch may take; it ends when all who asked have left. `joinMs`: as `createSingleFlight`. */
export const createRenewingCache = <T>(maxEntries: number, timeoutMs: number, joinMs?: number): RenewingCache<T> => {
  const entries = createCache<Entry<T>>(maxEntries);
  const flight = createSingleFlight<T>(timeoutMs, joinMs);

  const fetchInto = (key: string, context: Context, fetch: (context: Context) => Promise<Renewable<T>>): Promise<T> =>
    flight(key, context, async (shared) => {
      const { value, keepMs, renewMs } = await fetch(shared);
      if (keepMs > 0) entries.set(key, { value, renewAt: performance.now() + renewMs }, keepMs);
      return value;
    });

  return {
    get: async (key, context, fetch) => {
      const entry = entries.get(key);
      if (entry === undefined) return fetchInto(key, context, fetch);
      if (performance.now() >= entry.renewAt) {
        entry.renewAt = performance.now() + renewalPauseMs;
        const owned = openContext(context.requestId, timeoutMs);
        void fetchInto(key, owned.context, fetch)
          .catch(() => undefined)
          .finally(owned.dispose);
      }
      return entry.value;
    },
    held: (key) => entries.get(key)?.value,
    drop: (key) => entries.delete(key),
  };
};

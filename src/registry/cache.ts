/** A bounded map that forgets what was used longest ago, and what is older than its time to live. */
export type Cache<V> = {
  get(key: string): V | undefined;
  /** `ttlMs`: milliseconds; without it the entry stays until it is pushed out. */
  set(key: string, value: V, ttlMs?: number): void;
  delete(key: string): void;
};

type Entry<V> = { readonly value: V; readonly until: number; readonly weight: number };

/**
 * @param maxWeight the sum of `weigh` over all entries that are kept; without `weigh` each entry counts 1. A single
 *   entry above a quarter of it is not kept.
 */
export const createCache = <V>(maxWeight: number, weigh: (value: V) => number = () => 1): Cache<V> => {
  const entries = new Map<string, Entry<V>>();
  let total = 0;

  const remove = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    total -= entry.weight;
    entries.delete(key);
  };

  return {
    get: (key) => {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      entries.delete(key);
      if (performance.now() >= entry.until) {
        total -= entry.weight;
        return undefined;
      }
      entries.set(key, entry);
      return entry.value;
    },
    set: (key, value, ttlMs) => {
      remove(key);
      const weight = weigh(value);
      if (weight > maxWeight / 4 && maxWeight > 4) return;
      entries.set(key, {
        value,
        weight,
        until: ttlMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + ttlMs,
      });
      total += weight;
      for (const oldest of entries.keys()) {
        if (total <= maxWeight) break;
        remove(oldest);
      }
    },
    delete: remove,
  };
};

/** Verified tokens by SHA-256, least recently used first out. Not shared between replicas. */
export type TokenCache<Entry> = {
  get(hash: string): Entry | undefined;
  /** `weight`: about how many bytes the entry holds. */
  set(hash: string, entry: Entry, weight: number): void;
  delete(hash: string): void;
};

/** A cache bounded in entries and in the sum of their weights (bytes). */
export const createTokenCache = <Entry>(maxEntries = 10_000, maxWeight = 32 * 1024 * 1024): TokenCache<Entry> => {
  const entries = new Map<string, { readonly entry: Entry; readonly weight: number }>();
  let total = 0;

  const remove = (hash: string): void => {
    const held = entries.get(hash);
    if (held === undefined) return;
    entries.delete(hash);
    total -= held.weight;
  };

  return {
    get(hash) {
      const held = entries.get(hash);
      if (held === undefined) return undefined;
      // A Map keeps insertion order: putting it in again makes it the youngest.
      entries.delete(hash);
      entries.set(hash, held);
      return held.entry;
    },
    set(hash, entry, weight) {
      remove(hash);
      entries.set(hash, { entry, weight });
      total += weight;
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries && total <= maxWeight) break;
        remove(oldest);
      }
    },
    delete: remove,
  };
};

/** Something opened, held by one of its users. */
export type Lease<T> = { readonly value: T /** The last one closes it. Call once. */; release(): Promise<void> };

/** Things that several keys share, by an id: opened for the first, closed after the last. */
export type Leases<T> = { lease(id: string, open: () => T): Lease<T> };

/** Where `open` throws, nothing is held. A lease that is taken after the last release opens anew. */
export const createLeases = <T extends { close(): Promise<void> }>(): Leases<T> => {
  const held = new Map<string, { readonly value: T; users: number }>();
  return {
    lease: (id, open) => {
      const entry = held.get(id) ?? { value: open(), users: 0 };
      entry.users += 1;
      held.set(id, entry);
      return {
        value: entry.value,
        release: async () => {
          entry.users -= 1;
          if (entry.users > 0) return;
          held.delete(id);
          await entry.value.close();
        },
      };
    },
  };
};

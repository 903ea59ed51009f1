import type { Context } from '../model/context.ts';

/**
 * Mutual exclusion between processes that write to one tag, from a store that all of them share: with it, signatures at tags
 * need no settling time, whatever the registry does with conditions. There is no such store yet: this is where it goes.
 */
export type Lease = {
  /**
   * Runs `work` while nobody else runs work of that name. The context that it gets ends before the lease does. Rejects as
   * `work` does, and with `unavailable` when the lease cannot be had.
   */
  hold<T>(name: string, context: Context, work: (context: Context) => Promise<T>): Promise<T>;
};

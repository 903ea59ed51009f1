import type { Context } from '../model/context.ts';

/** What a holder has in its hands while it works. */
export type Held = {
  /** Ends before the lease does, and at once when the lease is found to be lost. */
  readonly context: Context;
  /**
   * Asked right before a write: is the lease still ours? Then it lasts its whole length from here. `doubtful`: ours, but somebody
   * may still believe in a lease that the store has forgotten. Throws `unavailable`: `LEASE_LOST`, or `LEASE_UNAVAILABLE`.
   */
  confirm(): Promise<'certain' | 'doubtful'>;
  /** What the last holders of that name noted, not long ago; 16 at most. Throws `unavailable`. */
  noted(): Promise<readonly string[]>;
};

/** What work leaves behind. */
export type Left = {
  /** For those who find out too late that they had lost the lease: what was written. */
  readonly note?: string | undefined;
  /** A request may still be under way: nobody gets the lease for so many milliseconds. Default: 0. */
  readonly lingerMs?: number;
};

/**
 * Mutual exclusion between processes that write to one tag, from a store that all of them share: with it, signatures at tags
 * need no settling time, whatever the registry does with conditions. Safe to call concurrently.
 */
export type Lease = {
  /**
   * Runs `work` while nobody else runs work of that name. `certain`: nobody did from beginning to end. `doubtful`: nobody whom
   * the store knows of did; it may have forgotten somebody. `lost`: somebody else may have, before the work was done. Rejects as
   * `work` does, and with `unavailable`, reason `LEASE_UNAVAILABLE`, when the lease cannot be had; then no work was begun.
   */
  hold(name: string, context: Context, work: (held: Held) => Promise<Left>): Promise<'certain' | 'doubtful' | 'lost'>;
  close(): Promise<void>;
};

/** Where leases are kept: one key each, every operation at once or not at all. Each rejects with `LEASE_UNAVAILABLE`. */
export type LeaseStore = {
  /** Gives a free lease to `token`, or prolongs it. False: another one has it. */
  take(name: string, token: string, ms: number): Promise<boolean>;
  /** Prolongs a lease that `token` has. False: it has not. */
  keep(name: string, token: string, ms: number): Promise<boolean>;
  /** Ends it, now or in `lingerMs`, and leaves the note with those of others for `noteMs`. False: `token` had it no more; then nothing happened. */
  give(name: string, token: string, left: Left, noteMs: number): Promise<boolean>;
  noted(name: string): Promise<readonly string[]>;
  /** For how long the connection has been up: milliseconds. A store that forgets what it was told breaks connections. */
  upForMs(): number;
  close(): Promise<void>;
};

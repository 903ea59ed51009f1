import { CountersignError } from '../model/error.ts';
import type { Until } from './port.ts';

/** Most lines that wait at once; more means that the sink hangs. */
const maxWaiting = 16_384;

/** Milliseconds between attempts to recover after a failure. */
const probeIntervalMs = 1_000;

type Waiting = {
  readonly text: () => string;
  readonly until: Until;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
};

export type GroupCommit = {
  /**
   * Resolves when the text has come as far as asked; `unavailable`, reason `AUDIT_UNAVAILABLE`, when it has not. `text` is
   * called when its turn comes: what waits need not be held as text.
   */
  write(text: () => string, until?: Until): Promise<void>;
  /** Did the last commit succeed? */
  healthy(): boolean;
  /** Commits what waits; later writes are refused. */
  close(): Promise<void>;
};

/** Where texts are committed to. Never called twice at once; `sync` makes durable what was appended before. */
export type Medium = { append(text: string): Promise<void>; sync(): Promise<void> };

/**
 * Collects texts while a commit is under way and commits them together afterwards, in order: one append and, if any of
 * them is to be durable, one sync covers all that came meanwhile. After a failure every write tries again, and without
 * one a probe does, so that readiness returns by itself.
 */
export const groupCommit = (medium: Medium): GroupCommit => {
  let waiting: Waiting[] = [];
  let running: Promise<void> | undefined;
  let probe: NodeJS.Timeout | undefined;
  let failed = false;
  let closed = false;

  const run = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting;
      waiting = [];
      try {
        await medium.append(batch.map(({ text }) => text()).join(''));
        const unsynced = batch.filter(({ until }) => until === 'durable');
        for (const { until, resolve } of batch) if (until === 'written') resolve();
        if (unsynced.length > 0) await medium.sync();
        failed = false;
        for (const { resolve } of unsynced) resolve();
      } catch (error) {
        failed = true;
        if (!closed) probe ??= setTimeout(tryAgain, probeIntervalMs).unref();
        const refusal = auditUnavailable(error);
        // Those that were resolved already are not touched by this.
        for (const { reject } of batch) reject(refusal);
      }
    }
    running = undefined;
  };

  const write = (text: () => string, until: Until = 'durable'): Promise<void> =>
    new Promise((resolve, reject) => {
      if (closed) return reject(auditUnavailable(new Error('the audit sink is closed')));
      if (waiting.length >= maxWaiting) return reject(auditUnavailable(new Error(`${maxWaiting} records wait`)));
      waiting.push({ text, until, resolve, reject });
      // Started in a microtask, so that writes of the same turn share the first commit.
      running ??= Promise.resolve().then(run);
    });

  // Only a real write can tell that a disk has room again. JSON allows white space before the next record.
  const tryAgain = (): void => {
    probe = undefined;
    if (failed && !closed) write(() => ' ').catch(() => undefined);
  };

  return {
    write,
    healthy: () => !failed && !closed,
    close: async () => {
      closed = true;
      clearTimeout(probe);
      await running;
    },
  };
};

/** The refusal that callers see; what the system said is for the log. */
export const auditUnavailable = (cause: unknown): CountersignError =>
  new CountersignError(
    'unavailable',
    'AUDIT_UNAVAILABLE',
    'The audit record cannot be written, and without it no key is used. Try again later.',
    { retryAfterMs: 5_000, cause },
  );

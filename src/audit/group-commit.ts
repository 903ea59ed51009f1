import { CountersignError } from '../model/error.ts';

/** Most lines that wait at once; more means that the sink hangs. */
const maxWaiting = 16_384;

/** Milliseconds between attempts to recover after a failure. */
const probeIntervalMs = 1_000;

type Waiting = { readonly text: string; readonly resolve: () => void; readonly reject: (error: Error) => void };

export type GroupCommit = {
  /** Resolves when the text is committed; `unavailable`, reason `AUDIT_UNAVAILABLE`, when it is not. */
  write(text: string): Promise<void>;
  /** Did the last commit succeed? */
  healthy(): boolean;
  /** Commits what waits; later writes are refused. */
  close(): Promise<void>;
};

/**
 * Collects texts while a commit is under way and commits them together afterwards, in order: one call of `commit`, so
 * one write and one fsync, covers all that came meanwhile. `commit` is never called twice at once. After a failure every
 * write tries again, and without one a probe does, so that readiness returns by itself.
 */
export const groupCommit = (commit: (text: string) => Promise<void>): GroupCommit => {
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
        await commit(batch.map(({ text }) => text).join(''));
        failed = false;
        for (const { resolve } of batch) resolve();
      } catch (error) {
        failed = true;
        if (!closed) probe ??= setTimeout(tryAgain, probeIntervalMs).unref();
        const refusal = auditUnavailable(error);
        for (const { reject } of batch) reject(refusal);
      }
    }
    running = undefined;
  };

  const write = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      if (closed) return reject(auditUnavailable(new Error('the audit sink is closed')));
      if (waiting.length >= maxWaiting) return reject(auditUnavailable(new Error(`${maxWaiting} records wait`)));
      waiting.push({ text, resolve, reject });
      // Started in a microtask, so that writes of the same turn share the first commit.
      running ??= Promise.resolve().then(run);
    });

  // Only a real write can tell that a disk has room again. JSON allows white space before the next record.
  const tryAgain = (): void => {
    probe = undefined;
    if (failed && !closed) write(' ').catch(() => undefined);
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

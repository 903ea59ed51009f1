import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';

/** Bounds how many requests are worked on and how many wait. One for both edges of a process. */
export type Limiter = {
  /**
   * Takes a place: undefined when there is one at once, else a promise that resolves when it is this request's turn
   * (first come, first served) and rejects with the context's reason when the request ends before. Throws
   * `resource_exhausted`, reason `OVERLOADED`, with a delay, when the queue is full.
   */
  acquire(context: Context): Promise<void> | undefined;
  /** Takes a place that is free, for which nobody waits; false when there is none. */
  takeFree(): boolean;
  /** Gives the place back; once for each place taken. */
  release(): void;
  readonly inFlight: number;
  readonly queued: number;
};

const retryAfterMs = 1000;

const overloaded = (): CountersignError =>
  new CountersignError(
    'resource_exhausted',
    'OVERLOADED',
    'The service has too much to do; try again after the delay.',
    {
      retryAfterMs,
    },
  );

/** `maxInFlight`: at least 1. `maxQueued`: 0 refuses whatever cannot be worked on at once. */
export const createLimiter = (maxInFlight: number, maxQueued: number): Limiter => {
  let inFlight = 0;
  const waiting = new Set<() => void>();

  const enqueue = ({ signal }: Context): Promise<void> =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const turn = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = (): void => {
        waiting.delete(turn);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      waiting.add(turn);
    });

  return {
    acquire: (context) => {
      if (inFlight < maxInFlight) {
        inFlight++;
        return undefined;
      }
      if (waiting.size >= maxQueued) throw overloaded();
      return enqueue(context);
    },
    takeFree: () => {
      // Whoever waits takes a place before it is free.
      if (inFlight >= maxInFlight) return false;
      inFlight++;
      return true;
    },
    release: () => {
      // The place passes on to the one who waited longest.
      for (const turn of waiting) {
        waiting.delete(turn);
        turn();
        return;
      }
      inFlight--;
    },
    get inFlight() {
      return inFlight;
    },
    get queued() {
      return waiting.size;
    },
  };
};

import { randomUUID } from 'node:crypto';
import { assertLive, type Context, openPart, remainingMs } from '../../model/context.ts';
import { CountersignError } from '../../model/error.ts';
import { waitFor } from '../../model/wait.ts';
import { pause } from '../../net/retry.ts';
import { createTurns } from './turns.ts';
import type { Lease, LeaseStore } from '../lease.ts';

export type LeaseOptions = {
  /** How long a lease lasts that is not prolonged. */
  readonly durationMs: number;
  /** How long one is waited for at most. */
  readonly waitMs: number;
  /** Default: Math.random. */
  readonly random?: () => number;
};

/** Between two looks at a lease that another has. The longer it takes, the more rarely it is looked at. */
const minPollMs = 20;
const maxPollMs = 250;
/** Notes outlive a process that stood still for so many lengths of a lease. */
const noteLengths = 8;
const retryAfterMs = 1_000;

/**
 * Leases from a store, prolonged while work runs. In one process holders of one name take turns in the order in which they came,
 * and only the first of them asks the store; the next one leaves a short gap, for other processes.
 *
 * The work's context ends when two thirds of a lease have passed since it was last prolonged: what was under way by then has the
 * last third to end in. For one length after the connection was made leases are `doubtful`: a store that was started anew knows
 * nothing of those who hold one.
 */
export const createLease = (store: LeaseStore, options: LeaseOptions): Lease => {
  const { durationMs, waitMs, random = Math.random } = options;
  const turns = createTurns();
  const heldMs = (durationMs * 2) / 3;

  /** `started`: when waiting for the turn began. */
  const acquire = async (name: string, token: string, context: Context, followed: boolean, started: number) => {
    const waiting = openPart(context, context.requestId, started + waitMs - performance.now());
    let asked: Promise<boolean> = Promise.resolve(false);
    try {
      if (followed) await pause(random() * 3 * minPollMs, waiting.context);
      for (;;) {
        const at = performance.now();
        asked = store.take(name, token, durationMs);
        // Looked at afterwards: the answer may have come by another connection than the question was meant for.
        if (await waitFor(asked, waiting.context)) return { at, certain: store.upForMs() >= durationMs };
        const wait = Math.min(maxPollMs, Math.max(minPollMs, (performance.now() - started) / 8));
        await pause(wait * (0.5 + random() / 2), waiting.context);
      }
    } catch (error) {
      // An answer that nobody waited for may be yes.
      void asked.catch(() => undefined).then(() => quietly(store.give(name, token, {}, 0)));
      assertLive(context);
      // The wait may be over a moment before its timer says so.
      const over = waiting.context.signal.aborted || remainingMs(waiting.context) === 0;
      throw over ? taken(name, waitMs) : error;
    } finally {
      waiting.dispose();
    }
  };

  const hold: Lease['hold'] = async (name, context, work) => {
    const started = performance.now();
    const turn = await turns.enter(name, context, waitMs);
    if (turn === undefined) throw taken(name, waitMs);
    try {
      const token = randomUUID();
      const { at, certain } = await acquire(name, token, context, turn.followed, started);
      const ending = openEnding(context, at + heldMs, () => lost(name));
      const keep = async (): Promise<boolean> => {
        const asked = performance.now();
        if (!(await store.keep(name, token, durationMs))) {
          ending.end();
          return false;
        }
        ending.extend(asked + heldMs);
        return true;
      };
      const renewal = every(durationMs / 6, keep);
      try {
        const left = await work({
          context: ending.context,
          confirm: async () => {
            const isOurs = await waitFor(keep(), ending.context);
            // An answer that this process was too slow to read is none.
            if (!isOurs || ending.isOver()) throw lost(name);
            return certain ? 'certain' : 'doubtful';
          },
          noted: () => store.noted(name),
        });
        renewal.stop();
        const kept = await store.give(name, token, left, noteLengths * durationMs).catch(() => false);
        return kept ? (certain ? 'certain' : 'doubtful') : 'lost';
      } catch (error) {
        renewal.stop();
        await quietly(store.give(name, token, {}, 0));
        throw error;
      } finally {
        ending.dispose();
      }
    } finally {
      turn.leave();
    }
  };

  return { hold, close: () => store.close() };
};

/** A part of a context that ends at a time which can be put off, or at once. Times are those of `performance.now()`. */
const openEnding = (whole: Context, first: number, reason: () => CountersignError) => {
  const controller = new AbortController();
  let at = first;
  let timer: NodeJS.Timeout;
  const end = (): void => controller.abort(reason());
  const arm = (): void => {
    timer = setTimeout(() => (performance.now() >= at ? end() : arm()), Math.max(1, at - performance.now()));
    timer.unref();
  };
  arm();
  return {
    context: { ...whole, signal: AbortSignal.any([whole.signal, controller.signal]) },
    isOver: () => performance.now() >= at,
    extend: (until: number) => {
      at = Math.max(at, until);
    },
    end,
    dispose: () => clearTimeout(timer),
  };
};

const quietly = (doing: Promise<unknown>): Promise<unknown> => doing.catch(() => undefined);

/** Runs `operation` again and again, until it says false. What it throws may pass. */
const every = (ms: number, operation: () => Promise<boolean>): { stop(): void } => {
  let stopped = false;
  let timer: NodeJS.Timeout;
  const next = (): void => {
    timer = setTimeout(async () => {
      const goOn = await operation().catch(() => true);
      if (goOn && !stopped) next();
    }, ms);
    timer.unref();
  };
  next();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
};

const taken = (name: string, waitMs: number): CountersignError =>
  new CountersignError(
    'unavailable',
    'LEASE_UNAVAILABLE',
    `Others are writing to ${name}; its lease could not be had within ${waitMs} ms. Try again.`,
    { retryAfterMs },
  );

const lost = (name: string): CountersignError =>
  new CountersignError('unavailable', 'LEASE_LOST', `The lease of ${name} was lost before the work was done.`, {
    retryAfterMs: 100,
  });

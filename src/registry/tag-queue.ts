import { setTimeout } from 'node:timers/promises';
import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { repositoryName } from '../model/subject.ts';
import { recordRegistryError } from '../telemetry/metrics.ts';
import type { ManifestDescriptor } from './manifest.ts';
import type { Target } from './target.ts';

/** One entry on its way to a tag, and what has become of it. Times are those of `performance.now()`. */
export type Waiter = {
  readonly entry: ManifestDescriptor;
  readonly context: Context;
  readonly resolve: (digest: Digest) => void;
  readonly reject: (error: unknown) => void;
  /** Writes that held it, and how many of them failed. */
  tries: number;
  failures: number;
  /** The manifest in which it was last written. */
  stored: Digest | undefined;
  /** The manifest of a write that has not been answered, or in a way that leaves it open. */
  attempted: Digest | undefined;
  writtenAt: number;
  /** When it counts, if it is read back then; undefined while it has to be written. */
  due: number | undefined;
};

/** Everything on its way to one tag. One drain works on it at a time; whoever comes meanwhile joins. */
export type TagQueue = {
  readonly target: Target;
  readonly tag: string;
  waiters: Waiter[];
  /** How long an unguarded write takes to settle; grows where the registry is slow. */
  settleMs: number;
  /** Readings one after the other that were too old to be written from. */
  oldReadings: number;
  /** All entries of the last manifest that was written. */
  written: readonly ManifestDescriptor[];
  /** What lay at the tag when a condition was said not to hold. */
  refusedOver: Digest | 'absent' | undefined;
  /** Others' entries may have been overwritten without a lease: when to look after them, and how often that was put off. */
  owes: { readonly at: number; readonly times: number } | undefined;
  /** Sets or puts off `owes`, by so many milliseconds; it is given up after 20 times. */
  owe(ms: number): void;
  /**
   * Drops those who have gone; waits until there is something to write, after a pause for what was tried before, or to read
   * back. False: nobody is left, and this queue has ended.
   */
  turn(pauseMs: (tries: number) => number): Promise<boolean>;
  resolve(waiters: readonly Waiter[], digest: Digest): void;
  reject(waiters: readonly Waiter[], error: unknown): void;
};

export type TagQueues = {
  /** Adds an entry to the queue of a tag; `drain` is started when nobody works on it, and ends when the queue is empty. */
  join(
    target: Target,
    tag: string,
    entry: ManifestDescriptor,
    settleMs: number,
    context: Context,
    drain: (queue: TagQueue) => Promise<void>,
  ): { readonly waiter: Waiter; readonly answer: Promise<Digest> };
};

export const createTagQueues = (): TagQueues => {
  const queues = new Map<string, Opened>();
  return {
    join: (target, tag, entry, settleMs, context, drain) => {
      const { promise: answer, resolve, reject } = Promise.withResolvers<Digest>();
      const fresh = { tries: 0, failures: 0, stored: undefined, attempted: undefined, writtenAt: 0, due: undefined };
      const waiter: Waiter = { entry, context, resolve, reject, ...fresh };
      const key = `${repositoryName(target)}:${tag}`;
      const present = queues.get(key);
      if (present !== undefined) {
        present.queue.waiters.push(waiter);
        present.wake();
      } else {
        const opened = open(target, tag, settleMs, waiter, () => queues.delete(key));
        queues.set(key, opened);
        void drain(opened.queue);
      }
      return { waiter, answer };
    },
  };
};

type Opened = { readonly queue: TagQueue; wake(): void };

/** How often looking after others' entries is put off. */
const maxOwed = 20;

/** `ended` is called the moment the queue is found empty, so that nobody joins a queue that nobody works on. */
const open = (target: Target, tag: string, settleMs: number, first: Waiter, ended: () => void): Opened => {
  let wake: () => void = () => undefined;
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = globalThis.setTimeout(resolve, ms);
      // What is only owed keeps no process from ending.
      if (queue.waiters.length === 0) timer.unref();
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  const without = (gone: readonly Waiter[]): void => {
    const set = new Set(gone);
    queue.waiters = queue.waiters.filter((waiter) => !set.has(waiter));
  };
  const queue: TagQueue = {
    target,
    tag,
    waiters: [first],
    settleMs,
    oldReadings: 0,
    written: [],
    refusedOver: undefined,
    owes: undefined,
    owe: (ms) => {
      const times = (queue.owes?.times ?? 0) + 1;
      queue.owes = times > maxOwed ? undefined : { at: performance.now() + ms, times };
      if (queue.owes === undefined) recordRegistryError('LEASE_REPAIR_FAILED');
    },
    turn: async (pauseMs) => {
      for (;;) {
        queue.waiters = queue.waiters.filter((waiter) => !waiter.context.signal.aborted);
        if (queue.waiters.length === 0 && queue.owes === undefined) {
          ended();
          return false;
        }
        const unwritten = queue.waiters.filter((waiter) => waiter.due === undefined);
        const tries = Math.max(0, ...unwritten.map((waiter) => waiter.tries));
        if (tries > 0) {
          await setTimeout(pauseMs(tries));
          return true;
        }
        const due = Math.min(
          queue.owes?.at ?? Number.POSITIVE_INFINITY,
          ...queue.waiters.map((waiter) => waiter.due ?? 0),
        );
        const wait = due - performance.now();
        if (wait <= 0) return true;
        await sleep(wait);
      }
    },
    resolve: (waiters, digest) => {
      without(waiters);
      for (const waiter of waiters) waiter.resolve(digest);
    },
    reject: (waiters, error) => {
      without(waiters);
      for (const waiter of waiters) waiter.reject(error);
    },
  };
  return { queue, wake: () => wake() };
};

import { type Context, deadlineExceeded } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { createFairQueue, type Turn } from './quota-queue.ts';

/** How much one key may be used. What is absent is not limited. */
export type QuotaSettings = {
  /** Signatures a second in the long run. */
  readonly perSecond?: number | undefined;
  /** How many of them at once after a pause. Default: as `perSecond`, at least 1. */
  readonly burst?: number | undefined;
  /** Calls at one time. */
  readonly maxConcurrent?: number | undefined;
  /** Requests that wait for a place, all callers together. Default: 256; 0 refuses what has no place at once. */
  readonly maxQueued?: number | undefined;
};

export type QuotaOptions = {
  /** Name of the key, for errors. */
  readonly key: string;
  /** Milliseconds on the clock of `Context.deadline`. Default: performance.now. */
  readonly now?: () => number;
};

/** Gives a place back. To be called once for each place taken: the same function serves all. */
export type Release = () => void;

/** The use of one key by all callers of this process: a token bucket, a bound on calls, and a fair queue before both. */
export type Quota = {
  /**
   * Takes a place for one call of `weight` signatures (a whole number, at least 1): at once when it is free and nobody
   * waits, else when its turn comes. More than `burst` at once have to wait for a full bucket, and then overdraw it.
   *
   * Callers take turns, so that each gets the same share; `caller` is whatever tells them apart. Rejects with the context's
   * reason when the request ends before. Throws `resource_exhausted`, reason `KEY_QUOTA`, with the expected wait as
   * `retryAfterMs`, when that is beyond the deadline or the queue is full; then whoever has more than one waiting above
   * this caller is refused the newest in its stead. Throws `unavailable`, reason `SHUTTING_DOWN`, after `close`.
   */
  acquire(caller: string, context: Context, weight?: number): Promise<Release> | Release;
  /** How many requests wait. */
  depth(): number;
  /** Refuses whoever waits or comes, and frees the timer. Places that are taken may still be given back. */
  close(): void;
};

type Waiting = {
  readonly context: Context;
  readonly granted: (release: Release) => void;
  refuse(reason: unknown): void;
};

const defaultMaxQueued = 256;
const maxTimerMs = 2 ** 31 - 1;
/** The wait that is assumed as long as the bound on calls is all that is known. */
const unknownWaitMs = 1_000;
/** How much the latest turn counts in the smoothed pace. */
const smoothing = 1 / 16;

const shuttingDown = (): CountersignError =>
  new CountersignError('unavailable', 'SHUTTING_DOWN', 'The service is shutting down.');

/** A quota with nothing taken. Nothing is left running while nobody waits. */
export const createQuota = (settings: QuotaSettings, options: QuotaOptions): Quota => {
  const { perSecond, maxConcurrent = Number.POSITIVE_INFINITY, maxQueued = defaultMaxQueued } = settings;
  const { key, now = () => performance.now() } = options;
  const burst = settings.burst ?? Math.max(1, perSecond ?? 1);
  const msEach = perSecond === undefined ? 0 : 1_000 / perSecond;
  const queue = createFairQueue<Waiting>();
  let inFlight = 0;
  /** When the bucket is full, which tells how full it is: no count to refill (GCRA, ITU-T I.371). */
  let fullAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** Milliseconds in the queue for each signature, as seen lately, and since when the next one is measured. */
  let pace: number | undefined;
  let paceSince = 0;

  const readyAt = (weight: number, fullAgain: number): number => fullAgain - (burst - Math.min(weight, burst)) * msEach;

  const take = (weight: number, at: number): void => {
    inFlight += 1;
    fullAt = Math.max(fullAt, at) + weight * msEach;
  };

  const measure = (weight: number, at: number): void => {
    const each = (at - paceSince) / weight;
    pace = pace === undefined ? each : pace + (each - pace) * smoothing;
    paceSince = at;
  };

  const release: Release = () => {
    inFlight -= 1;
    if (queue.size > 0) serve();
  };

  const disarm = (): void => {
    clearTimeout(timer);
    timer = undefined;
  };

  /** Lets in whoever's turn it is, and sets the timer for the next one. */
  const serve = (): void => {
    disarm();
    for (let turn = queue.next(); turn !== undefined && inFlight < maxConcurrent; turn = queue.next()) {
      const at = now();
      const { signal, deadline } = turn.value.context;
      // One whose signal ends this very moment, or whose timer is late, does not cost a place.
      if (signal.aborted || at >= deadline) {
        leave(turn, signal.aborted ? signal.reason : deadlineExceeded());
        continue;
      }
      const waitMs = readyAt(turn.weight, fullAt) - at;
      if (waitMs > 0) {
        timer = setTimeout(serve, Math.min(Math.ceil(waitMs), maxTimerMs)).unref();
        return;
      }
      queue.take(turn);
      take(turn.weight, at);
      measure(turn.weight, at);
      turn.value.granted(release);
    }
  };

  const leave = (turn: Turn<Waiting>, reason: unknown): void => {
    queue.remove(turn);
    turn.value.refuse(reason);
  };

  /** What a request that comes now waits at least, for the rate alone; unless others leave. */
  const waitByRate = (caller: string, weight: number, at: number): number => {
    if (msEach === 0) return 0;
    const fullAgain = Math.max(fullAt, at) + queue.ahead(caller, weight) * msEach;
    return Math.max(0, readyAt(weight, fullAgain) - at);
  };

  const refused = (caller: string, weight: number, why: string): CountersignError => {
    const byRate = waitByRate(caller, weight, now());
    const byPace = pace === undefined ? 0 : (queue.ahead(caller, weight) + weight) * pace;
    const waitMs = Math.max(byRate, byPace) || unknownWaitMs;
    return new CountersignError('resource_exhausted', 'KEY_QUOTA', `Key ${key} is at its limit: ${why}.`, {
      retryAfterMs: Math.ceil(waitMs),
      metadata: { key, waiting: String(queue.size) },
    });
  };

  /** Throws unless a request of this caller may wait; drops from the longest queue to make it so. */
  const makeRoom = (caller: string, weight: number): void => {
    if (queue.size < maxQueued) return;
    const newest = queue.newestOfLongest();
    // Not for a difference of one: that would refuse one request for the same one of somebody else.
    if (newest === undefined || newest.line.size <= queue.waiting(caller) + 1) {
      throw refused(caller, weight, 'as many requests as may wait for it do; try again after the delay');
    }
    queue.remove(newest);
    const why = 'the queue is full, and another caller has fewer requests in it; try again after the delay';
    newest.value.refuse(refused(newest.line.caller, newest.weight, why));
  };

  const wait = (caller: string, context: Context, weight: number, at: number): Promise<Release> => {
    if (at + waitByRate(caller, weight, at) >= context.deadline) {
      throw refused(
        caller,
        weight,
        'the wait for it would pass the deadline of the request; try again after the delay',
      );
    }
    makeRoom(caller, weight);
    if (queue.size === 0) paceSince = at;
    const { promise, resolve, reject } = Promise.withResolvers<Release>();
    const { signal } = context;
    const onAbort = (): void => {
      leave(turn, signal.reason);
      serve();
    };
    const settle = (): void => signal.removeEventListener('abort', onAbort);
    const turn = queue.add(caller, weight, {
      context,
      granted: (place) => {
        settle();
        resolve(place);
      },
      refuse: (reason) => {
        settle();
        reject(reason);
      },
    });
    signal.addEventListener('abort', onAbort, { once: true });
    serve();
    return promise;
  };

  return {
    acquire: (caller, context, weight = 1) => {
      if (closed) throw shuttingDown();
      if (context.signal.aborted) throw context.signal.reason;
      const at = now();
      if (at >= context.deadline) throw deadlineExceeded();
      if (queue.size > 0 || inFlight >= maxConcurrent || at < readyAt(weight, fullAt)) {
        return wait(caller, context, weight, at);
      }
      take(weight, at);
      return release;
    },
    depth: () => queue.size,
    close: () => {
      closed = true;
      disarm();
      for (let turn = queue.next(); turn !== undefined; turn = queue.next()) leave(turn, shuttingDown());
    },
  };
};

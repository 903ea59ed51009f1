import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '../model/context.ts';
import { assertLive, remainingMs } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';

export type RetryOptions = {
  /** Attempts in all, at least 1. */
  readonly tries: number;
  readonly context: Context;
  /** Which failures are tried again. Default: a CountersignError that carries `retryAfterMs`. */
  readonly retryable?: (error: unknown) => boolean;
  /** The first wait, before jitter: milliseconds. Default: 100. */
  readonly baseMs?: number;
  /** The longest wait that is not asked for by `retryAfterMs`. Default: 3,000. */
  readonly maxMs?: number;
  /** Default: Math.random. */
  readonly random?: () => number;
  /** Asked before each further attempt that would be made; when it refuses, there is none. Default: as many as `tries`. */
  readonly budget?: { withdraw(): boolean } | undefined;
};

/**
 * Runs `operation` until it succeeds, at most `tries` times, with jittered exponential waits; a `retryAfterMs` of the
 * error is the least wait. When the wait would pass the deadline, or the budget is spent, the error is thrown at once.
 * Throws the last error, or the reason for which the context ended.
 */
export const withRetry = async <T>(operation: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> => {
  const retryable = options.retryable ?? saysRetry;
  for (let attempt = 1; ; attempt++) {
    assertLive(options.context);
    try {
      return await operation(attempt);
    } catch (error) {
      if (attempt >= options.tries || !retryable(error)) throw error;
      const wait = Math.max(backoff(attempt, options), asked(error, options));
      if (wait >= remainingMs(options.context)) throw error;
      if (options.budget?.withdraw() === false) throw error;
      await pause(wait, options.context);
    }
  }
};

/** Sleeps `ms` milliseconds, or rejects with the reason for which the context ended. */
export const pause = async (ms: number, context: Context): Promise<void> => {
  try {
    await sleep(ms, undefined, { signal: context.signal });
  } catch {
    assertLive(context);
  }
};

const saysRetry = (error: unknown): boolean => error instanceof CountersignError && error.retryAfterMs !== undefined;

/** Full jitter over the upper half, so that many clients do not come back together. */
const backoff = (attempt: number, { baseMs = 100, maxMs = 3_000, random = Math.random }: RetryOptions): number =>
  Math.min(maxMs, baseMs * 2 ** (attempt - 1)) * (0.5 + random() / 2);

/** Never earlier than asked, up to a tenth later. */
const asked = (error: unknown, { random = Math.random }: RetryOptions): number =>
  error instanceof CountersignError && error.retryAfterMs !== undefined ? error.retryAfterMs * (1 + random() / 10) : 0;

/**
 * `Retry-After` (RFC 9110 section 10.2.3) -> milliseconds from `now`: whole seconds or an HTTP-date; a date in the past
 * is 0. Undefined for anything else (absent, negative, fraction, text). Never above one day.
 */
export const parseRetryAfter = (value: string | undefined, now: Date): number | undefined => {
  if (value === undefined) return undefined;
  const text = value.trim();
  const day = 86_400_000;
  if (/^\d{1,15}$/.test(text)) return Math.min(Number(text) * 1000, day);
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : Math.min(Math.max(at - now.getTime(), 0), day);
};

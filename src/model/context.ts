import { CountersignError } from './error.ts';

/**
 * What travels with one request through every leg: its id, its one deadline and the signal that ends it.
 * Adapters pass `signal` to their I/O and never wait longer than `remainingMs`.
 */
export type Context = {
  readonly requestId: string;
  /** Aborted when the caller cancels or the deadline passes; `signal.reason` is a CountersignError. */
  readonly signal: AbortSignal;
  /** The deadline on the monotonic clock: milliseconds as `performance.now()` counts them. */
  readonly deadline: number;
  /** Whom the work is for, once that is known: queues take turns between callers. Absent: the service's own work. */
  readonly caller?: string;
  /** Did the caller choose the request id? Then an equal request with it is a retry. */
  readonly idChosen?: boolean;
};

/** Milliseconds until the deadline, never below 0. */
export const remainingMs = (context: Context): number => Math.max(0, context.deadline - performance.now());

/** The same context, on behalf of a caller. */
export const onBehalfOf = (context: Context, caller: string): Context => ({ ...context, caller });

/** Throws the reason for which the request ended (`cancelled` or `deadline_exceeded`), if it has. */
export const assertLive = (context: Context): void => {
  if (context.signal.aborted) throw context.signal.reason;
  if (performance.now() >= context.deadline) throw deadlineExceeded();
};

/** `waitingFor`: the host that had not answered by then. */
export const deadlineExceeded = (waitingFor?: string): CountersignError =>
  new CountersignError(
    'deadline_exceeded',
    'DEADLINE_EXCEEDED',
    waitingFor === undefined
      ? 'The deadline of the request passed before it was done.'
      : `The deadline of the request passed; ${waitingFor} had not answered yet.`,
    waitingFor === undefined ? {} : { metadata: { host: waitingFor } },
  );

export const cancelled = (): CountersignError =>
  new CountersignError('cancelled', 'CANCELLED', 'The caller cancelled the request.');

/** A context with its own deadline, and how to cancel it early and how to free its timer. */
export type OwnedContext = { readonly context: Context; cancel(): void; dispose(): void };

/** Opens a context that ends after `timeoutMs` milliseconds (1 to 2^31-1) or when `cancel` is called. */
export const openContext = (requestId: string, timeoutMs: number): OwnedContext => {
  const { context, end, dispose } = endable(requestId, timeoutMs);
  return { context, cancel: () => end(cancelled()), dispose };
};

/** Opens a context for a part of what another is for: it ends after `timeoutMs` milliseconds, and no later than that one. */
export const openPart = (whole: Context, requestId: string, timeoutMs: number): OwnedContext => {
  const { context, end, dispose } = endable(requestId, Math.min(timeoutMs, remainingMs(whole)));
  const endWithWhole = (): void => end(whole.signal.reason);
  whole.signal.addEventListener('abort', endWithWhole, { once: true });
  if (whole.signal.aborted) endWithWhole();
  return {
    context: { ...whole, ...context },
    cancel: () => end(cancelled()),
    dispose: () => {
      whole.signal.removeEventListener('abort', endWithWhole);
      dispose();
    },
  };
};

const endable = (requestId: string, timeoutMs: number) => {
  const controller = new AbortController();
  const bounded = Math.min(Math.max(timeoutMs, 1), 2 ** 31 - 1);
  const timer = setTimeout(() => controller.abort(deadlineExceeded()), bounded);
  timer.unref();
  const context: Context = { requestId, signal: controller.signal, deadline: performance.now() + bounded };
  return { context, end: (reason: CountersignError) => controller.abort(reason), dispose: () => clearTimeout(timer) };
};

import { CountersignError, type ErrorCode } from '../model/error.ts';

/** `half-open`: one attempt may be made, or is being made, to see whether it is over. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Leave for one attempt; its outcome is told with it, once. */
export type Pass = { readonly era: number; readonly at: number };

/** Keeps calls from a backend that fails. One for each key; safe to share. */
export type Breaker = {
  /**
   * Throws `unavailable`, reason `KEY_BREAKER_OPEN`, with `retryAfterMs`, while the backend is left alone. Whoever gets a
   * pass makes an attempt and calls exactly one of `succeeded`, `failed` and `abandoned`.
   */
  assertClosed(): Pass;
  succeeded(pass: Pass): void;
  /** Whether the error says that the backend fails is judged here: any error may be given. */
  failed(error: unknown, pass: Pass): void;
  /** There was no outcome: the attempt was cancelled or not made. If it was the one trial, the next caller makes it. */
  abandoned(pass: Pass): void;
  state(): BreakerState;
};

export type BreakerOptions = {
  /** Name of the key, for errors. */
  readonly key: string;
  /** Opens after so many failures in a row. Default: 5. */
  readonly failures?: number;
  /** For how long it opens first, before jitter: milliseconds. Doubled with each trial that fails. Default: 5,000. */
  readonly openMs?: number;
  /** For how long it opens at most. A trial without an outcome is given up after as long. Default: 60,000. */
  readonly maxOpenMs?: number;
  /**
   * A deadline that passed is a failure of the backend when that had at least so long to answer; with a shorter one a
   * caller could close the key to the others. Default: 1,000.
   */
  readonly slowMs?: number;
  /** Milliseconds on a clock that never goes back. Default: performance.now. */
  readonly now?: () => number;
  /** Default: Math.random. */
  readonly random?: () => number;
};

/** What whoever comes during a trial is told to wait: it has an outcome soon, or the backend is still ill. */
const trialRetryMs = 1_000;

/** Errors that say nothing of the backend. All others, but `unavailable` and late deadlines, are answers it gave. */
const silent: ReadonlySet<ErrorCode> = new Set(['cancelled', 'deadline_exceeded', 'internal']);

/** A closed breaker. It has no timer. */
export const createBreaker = (options: BreakerOptions): Breaker => {
  const { key, failures = 5, openMs = 5_000, maxOpenMs = 60_000, slowMs = 1_000 } = options;
  const { now = () => performance.now(), random = Math.random } = options;
  let state: BreakerState = 'closed';
  /** Grows with every change, so that outcomes of attempts from before it are known, and not counted. */
  let era = 0;
  let inARow = 0;
  let openings = 0;
  /** Open: when a trial may be made. Half-open: when it is given up. */
  let until = 0;

  const turn = (next: BreakerState, nextUntil: number): void => {
    state = next;
    until = nextUntil;
    era += 1;
    inARow = 0;
  };

  /** Jitter over the upper half, so that many replicas do not come back together. */
  const open = (): void => {
    const forMs = Math.min(maxOpenMs, openMs * 2 ** Math.min(openings, 30)) * (0.5 + random() / 2);
    openings += 1;
    turn('open', now() + forMs);
  };

  const answered = (): void => {
    inARow = 0;
    if (state === 'closed') return;
    openings = 0;
    turn('closed', 0);
  };

  const gaveNoOutcome = (): void => {
    if (state === 'half-open') turn('open', now());
  };

  const refused = (retryAfterMs: number): CountersignError =>
    new CountersignError(
      'unavailable',
      'KEY_BREAKER_OPEN',
      `The backend of key ${key} failed several times in a row and is left alone for a moment; try again after the delay.`,
      { retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)), metadata: { key } },
    );

  return {
    assertClosed: () => {
      const at = now();
      if (state !== 'closed') {
        if (at < until) throw refused(state === 'open' ? until - at : Math.min(trialRetryMs, until - at));
        turn('half-open', at + maxOpenMs);
      }
      return { era, at };
    },
    succeeded: (pass) => {
      if (pass.era === era) answered();
    },
    failed: (error, pass) => {
      if (pass.era !== era) return;
      const code = error instanceof CountersignError ? error.code : 'internal';
      if (code === 'unavailable' || (code === 'deadline_exceeded' && now() - pass.at >= slowMs)) {
        inARow += 1;
        if (state === 'half-open' || inARow >= failures) open();
      } else if (silent.has(code)) gaveNoOutcome();
      else answered();
    },
    abandoned: (pass) => {
      if (pass.era === era) gaveNoOutcome();
    },
    state: () => (state === 'open' && now() >= until ? 'half-open' : state),
  };
};

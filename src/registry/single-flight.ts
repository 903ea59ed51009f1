import { assertLive, type Context, openContext } from '../model/context.ts';
import { waitFor } from '../model/wait.ts';

export type SingleFlight<T> = (key: string, context: Context, work: (context: Context) => Promise<T>) => Promise<T>;

type Flight<T> = {
  readonly answer: Promise<T>;
  readonly startedAt: number;
  waiting: number;
  resolve(value: T): void;
  /** Nobody needs the work any more. */
  cancel(): void;
};

/**
 * Runs the work of one key once for all who ask meanwhile; they get the same answer. The work has a deadline of its own
 * (`timeoutMs` milliseconds), so that a caller who leaves does not take the others' answer away; it is cancelled when the last
 * one has left. Who asks later than `joinMs` after the work began (default: `timeoutMs`) does not wait for what may hang: the
 * work is begun once more, and whichever succeeds first answers all.
 */
export const createSingleFlight = <T>(timeoutMs: number, joinMs = timeoutMs): SingleFlight<T> => {
  /** The last one of each is the one to join. */
  const flights = new Map<string, Set<Flight<T>>>();

  const start = (key: string, context: Context, work: (context: Context) => Promise<T>): Flight<T> => {
    const owned = openContext(context.requestId, timeoutMs);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const ended = (): boolean => {
      owned.dispose();
      const all = flights.get(key);
      const wasUnderWay = all?.delete(flight) === true;
      if (all?.size === 0) flights.delete(key);
      return wasUnderWay;
    };
    const flight: Flight<T> = {
      answer: promise,
      startedAt: performance.now(),
      waiting: 0,
      resolve,
      cancel: () => {
        if (ended()) owned.cancel();
      },
    };
    const all = flights.get(key) ?? new Set();
    flights.set(key, all.add(flight));
    waitFor(work(owned.context), owned.context).then(
      (value) => {
        const others = [...(flights.get(key) ?? [])];
        ended();
        resolve(value);
        for (const other of others) {
          other.resolve(value);
          other.cancel();
        }
      },
      (error) => {
        ended();
        reject(error);
      },
    );
    return flight;
  };

  return async (key, context, work) => {
    assertLive(context);
    const last = [...(flights.get(key) ?? [])].at(-1);
    const flight =
      last === undefined || performance.now() - last.startedAt >= joinMs ? start(key, context, work) : last;
    flight.waiting++;
    try {
      return await waitFor(flight.answer, context);
    } finally {
      flight.waiting--;
      if (flight.waiting === 0) flight.cancel();
    }
  };
};

import type { Context } from '../model/context.ts';
import { openContext } from '../model/context.ts';

/** Waits for work that others may share; rejects with the context's reason when this caller's time ends first. */
export const waitWithin = <T>(work: Promise<T>, context: Context): Promise<T> => {
  if (context.signal.aborted) return Promise.reject(context.signal.reason);
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(context.signal.reason);
    context.signal.addEventListener('abort', onAbort, { once: true });
    const done = (): void => context.signal.removeEventListener('abort', onAbort);
    work.then(resolve, reject).finally(done);
  });
};

export type SingleFlight<T> = (key: string, context: Context, work: (context: Context) => Promise<T>) => Promise<T>;

/**
 * Runs the work of one key at most once at a time; whoever asks meanwhile gets the same answer. The work has a deadline of
 * its own (`timeoutMs` milliseconds), so that a caller who leaves does not take the others' answer away.
 */
export const createSingleFlight = <T>(timeoutMs: number): SingleFlight<T> => {
  const flights = new Map<string, Promise<T>>();
  return (key, context, work) => {
    let flight = flights.get(key);
    if (flight === undefined) {
      const owned = openContext(context.requestId, timeoutMs);
      flight = work(owned.context).finally(() => {
        owned.dispose();
        flights.delete(key);
      });
      // Whoever waits hears of a failure; when nobody does any more, nobody needs to.
      flight.catch(() => {});
      flights.set(key, flight);
    }
    return waitWithin(flight, context);
  };
};

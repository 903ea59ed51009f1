import type { Context } from '../model/context.ts';
import { openContext } from '../model/context.ts';
import { waitFor } from '../model/wait.ts';

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
      flights.set(key, flight);
    }
    return waitFor(flight, context);
  };
};

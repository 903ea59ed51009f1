import { assertLive, type Context } from './context.ts';
import { CountersignError } from './error.ts';

/**
 * Waits for work that several requests share, no longer than this request lives: rejects with the reason for which the
 * context ended while the work goes on for the others.
 */
export const waitFor = async <T>(work: Promise<T>, context: Context): Promise<T> => {
  // Whoever waits may be gone before the work fails; that must not end the process.
  work.catch(() => undefined);
  assertLive(context);
  const ended = Promise.withResolvers<never>();
  const onAbort = (): void => ended.reject(context.signal.reason);
  context.signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([work, ended.promise]);
  } finally {
    context.signal.removeEventListener('abort', onAbort);
  }
};

/** How long work whose context has ended may take to say what it leaves behind, such as one of two signatures: milliseconds. */
const reportMs = 500;

/**
 * Ends with the context even when some leg does not heed its signal: what the work resolves with or rejects with, or, `graceMs`
 * milliseconds after the context has ended, its reason. Rejects with the reason, not with what it made of a leg, unless the leg
 * tells the same.
 */
export const withinContext = <T>(working: Promise<T>, { signal }: Context, graceMs = reportMs): Promise<T> =>
  new Promise((resolve, reject) => {
    const give = (): void => void setTimeout(() => reject(signal.reason), graceMs);
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
    working.then(resolve, (error) => {
      const told = error instanceof CountersignError && error.code === signal.reason?.code;
      reject(signal.aborted && !told ? signal.reason : error);
    });
  });

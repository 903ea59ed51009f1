import { assertLive, type Context } from './context.ts';

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

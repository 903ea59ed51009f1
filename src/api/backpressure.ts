import { type EventEmitter, once } from 'node:events';
import { cancelled } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';

/**
 * Resolves when a stream that was full has room again (`drain`). Rejects `cancelled`: when `gone` says that the reader has
 * left, or, reason `READER_STALLED`, when nothing was taken for `readMs` milliseconds.
 */
export const untilDrained = async (
  stream: EventEmitter,
  gone: 'close' | 'cancelled',
  readMs: number,
): Promise<void> => {
  const waiting = new AbortController();
  const { signal } = waiting;
  const timer = setTimeout(() => waiting.abort(), readMs);
  try {
    await Promise.race([
      once(stream, 'drain', { signal }),
      once(stream, gone, { signal }).then(() => Promise.reject(cancelled())),
    ]);
  } catch (caught) {
    if (caught instanceof CountersignError) throw caught;
    if (!signal.aborted) throw cancelled();
    throw new CountersignError(
      'cancelled',
      'READER_STALLED',
      `Nothing of the answer was read for ${Math.round(readMs / 1000)} s; what was not begun was left.`,
    );
  } finally {
    clearTimeout(timer);
    waiting.abort();
  }
};

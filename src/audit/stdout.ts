import { write } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { z } from 'zod';
import { groupCommit } from './group-commit.ts';
import type { AuditSink } from './port.ts';

export const stdoutAuditSettings = z.strictObject({ kind: z.literal('stdout') });

const writeTo = promisify(write);

/**
 * Writes records to standard output, one JSON object a line; a record counts as durable once the system has taken it,
 * so what reads the output must not lose it. The file descriptor is used directly: `process.stdout` would stop the whole
 * process while a pipe is full. Other writers of the process must leave the descriptor alone.
 */
export const openStdoutSink = (descriptor = 1): AuditSink => {
  let torn = false;
  const append = async (lines: string): Promise<void> => {
    let rest = Buffer.from(torn ? `\n${lines}` : lines);
    while (rest.length > 0) {
      const written = await writeSome(descriptor, rest);
      torn = written < rest.length;
      rest = rest.subarray(written);
    }
  };
  const queue = groupCommit({ append, sync: async () => {} });
  return {
    write: (record, until) => queue.write(() => `${JSON.stringify(record)}\n`, until),
    healthy: () => queue.healthy(),
    close: () => queue.close(),
  };
};

/** A pipe may have been set non-blocking by whoever holds its other end; then a full one is asked again. */
const writeSome = async (descriptor: number, bytes: Buffer): Promise<number> => {
  for (;;) {
    try {
      return (await writeTo(descriptor, bytes)).bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await setTimeout(5);
    }
  }
};

import { z } from 'zod';
import { type AppendFile, openAppendFile } from './append-file.ts';
import { auditUnavailable, groupCommit } from './group-commit.ts';
import type { AuditSink } from './port.ts';

export const fileAuditSettings = z.strictObject({
  kind: z.literal('file'),
  file: z.string().min(1).describe('The file that records are appended to, one JSON object a line; created if absent.'),
  fsync: z
    .boolean()
    .default(true)
    .describe('Wait until the disk has each record. With false, a power failure may lose records of signatures made.'),
});

export type FileAuditSettings = z.output<typeof fileAuditSettings>;

export type FileAuditSink = AuditSink & {
  /** Opens the file anew, for log rotation: what is written afterwards goes to the path's present file. */
  reopen(): Promise<void>;
};

/**
 * Appends records to a file; concurrent writes share one fsync. A file that was deleted is created again. Several
 * processes may append to one file. `unavailable`, reason `AUDIT_UNAVAILABLE`, when it cannot be opened.
 */
export const openFileSink = async (settings: FileAuditSettings): Promise<FileAuditSink> => {
  let file: AppendFile = await openAppendFile(settings.file).catch((error: unknown) => {
    throw auditUnavailable(error);
  });
  let stale = false;

  /** A failed fsync may have dropped what was written, and says so only once: a new handle starts clean. */
  const orStale = async (operation: () => Promise<void>): Promise<void> => {
    try {
      await operation();
    } catch (error) {
      stale = true;
      throw error;
    }
  };
  const append = async (lines: string): Promise<void> => {
    if (stale || !file.linked()) {
      const fresh = await openAppendFile(settings.file);
      await file.close().catch(() => undefined);
      file = fresh;
      stale = false;
    }
    await file.append(lines);
  };
  const queue = groupCommit({
    append: (lines) => orStale(() => append(lines)),
    sync: () => orStale(async () => (settings.fsync ? file.sync() : undefined)),
  });

  return {
    write: (record, until) => queue.write(() => `${JSON.stringify(record)}\n`, until),
    healthy: () => queue.healthy(),
    reopen: () => {
      stale = true;
      return queue.write(() => '');
    },
    close: async () => {
      await queue.close();
      await file.close().catch(() => undefined);
    },
  };
};

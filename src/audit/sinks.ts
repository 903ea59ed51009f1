import { z } from 'zod';
import { fileAuditSettings, openFileSink } from './file.ts';
import type { AuditSink } from './port.ts';
import { openStdoutSink, stdoutAuditSettings } from './stdout.ts';

/** Section `audit` of the configuration: where records of every use of a key go. */
export const auditSettings = z.discriminatedUnion('kind', [fileAuditSettings, stdoutAuditSettings]);

export type AuditSettings = z.output<typeof auditSettings>;

/** A sink that may know how to open its file anew (on SIGHUP, for log rotation). */
export type OpenAuditSink = AuditSink & { reopen?(): Promise<void> };

/** Opens the configured sink; `unavailable`, reason `AUDIT_UNAVAILABLE`, when it cannot be written to. */
export const openAuditSink = async (settings: AuditSettings): Promise<OpenAuditSink> => {
  switch (settings.kind) {
    case 'file':
      return openFileSink(settings);
    case 'stdout':
      return openStdoutSink();
  }
};

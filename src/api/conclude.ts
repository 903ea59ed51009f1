import type { Caller } from '../model/caller.ts';
import type { CountersignError, ErrorCode } from '../model/error.ts';
import { recordRequest } from '../telemetry/metrics.ts';

/** What the edges need of a logger; a pino logger fits. */
export type EdgeLogger = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** Filled while a request is worked on, for its line in the log. */
export type Notes = { caller: Caller | undefined; queueMs: number; items?: { ok: number; failed: number } };

/** A request, or an item of one, as log and metrics name it. */
export type Concluded = {
  readonly transport: 'grpc' | 'rest';
  readonly method: string;
  readonly requestId: string;
  /** On the monotonic clock, milliseconds. */
  readonly started: number;
};

/** A part of an answer as log and metrics see it. `name`: one of few. */
export type PartSummary = {
  readonly name: string;
  readonly requestId: string;
  readonly ms: number;
  readonly error: CountersignError | undefined;
};

const ownFaults: ReadonlySet<ErrorCode> = new Set(['internal', 'data_loss']);
const troubles: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'deadline_exceeded',
  'resource_exhausted',
  'failed_precondition', // a disabled key, a credential that a registry refuses: the operator's to mend
]);

/** One line a request: no token, no payload. */
const log = (logger: EdgeLogger, fields: Record<string, unknown>, error: CountersignError | undefined): void => {
  if (error === undefined) {
    logger.info(fields, 'request');
    return;
  }
  const failed = { ...fields, reason: error.reason, detail: error.message.slice(0, 500) };
  if (ownFaults.has(error.code)) logger.error({ ...failed, err: error.cause ?? error }, 'request');
  else if (troubles.has(error.code)) logger.warn({ ...failed, err: error.cause }, 'request');
  else logger.info(failed, 'request');
};

/** Writes the log line and the metric of a finished request, also of one that never reached a method. */
export const conclude = (
  logger: EdgeLogger,
  { transport, method, requestId, started }: Concluded,
  error: CountersignError | undefined,
  notes?: Readonly<Notes>,
): void => {
  const ms = performance.now() - started;
  const code = error?.code ?? 'ok';
  recordRequest({ transport, method, code, seconds: ms / 1000 });
  const fields = {
    requestId,
    transport,
    method,
    code,
    ms: Math.round(ms * 1000) / 1000,
    queueMs: notes?.queueMs ? Math.round(notes.queueMs * 1000) / 1000 : undefined,
    items: notes?.items,
    issuer: notes?.caller?.issuer,
    subject: notes?.caller?.subject,
  };
  log(logger, fields, error);
};

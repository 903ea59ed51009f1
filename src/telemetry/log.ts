import { isSpanContextValid, trace } from '@opentelemetry/api';
import { type Logger, pino } from 'pino';
import { CountersignError } from '../model/error.ts';
import { logText } from './log-text.ts';
import { redact } from './redact.ts';
import type { LogSettings } from './settings.ts';

export type { Logger };

/** Where whole lines of the log go; `flush` calls back when all of them have arrived. */
export type LogDestination = { write(line: string): void; flush?(done: () => void): void };

/** Names of fields that are never shown, at the top of an entry or one level below. */
const hidden = ['authorization', 'cookie', 'token', 'password', 'secret', 'headers'];

/**
 * The log of the process: one JSON object a line on standard error, or text on a terminal. Written asynchronously, so a
 * slow reader does not hold up requests; what is buffered is written before the process exits. Errors are logged under
 * `err`, with their causes. Credentials are taken out by name and by shape.
 */
export const createLogger = (
  settings: LogSettings,
  // With minLength 0, flush would call back before anything is written.
  destination: LogDestination = pino.destination({ fd: 2, sync: false, minLength: 1 }),
  terminal: boolean = process.stderr.isTTY === true,
): Logger => {
  const asText = settings.format === 'text' || (settings.format === 'auto' && terminal);
  const lines: LogDestination = {
    write: (line) => destination.write(redact(asText ? logText(line) : line)),
    flush: (done) => (destination.flush === undefined ? done() : destination.flush(done)),
  };
  return pino(
    {
      level: settings.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...hidden, ...hidden.map((name) => `*.${name}`)], censor: '[redacted]' },
      serializers: { err: (error: unknown) => describeError(error) },
      mixin: traceIds,
    },
    lines,
  );
};

/** Resolves when every line is written, in its order, or after a second: a reader that is stuck does not keep us. */
export const flushLog = (logger: Logger): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, 1_000);
    logger.flush(() => {
      clearTimeout(timer);
      resolve();
    });
  });

const traceIds = (): object => {
  const span = trace.getActiveSpan()?.spanContext();
  return span !== undefined && isSpanContextValid(span) ? { traceId: span.traceId, spanId: span.spanId } : {};
};

type DescribedError = {
  name: string;
  message: string;
  code?: string;
  reason?: string;
  stack?: string;
  cause?: unknown;
};

/**
 * An error for the log. Only these fields: clients hang requests with their credentials onto the errors that they throw.
 */
const describeError = (error: unknown, depth = 0): DescribedError | string => {
  if (!(error instanceof Error)) return String(error);
  const code: unknown = 'code' in error ? error.code : undefined;
  return {
    name: error.name,
    message: error.message,
    ...(typeof code === 'string' && { code }),
    ...(error instanceof CountersignError && { reason: error.reason }),
    ...(error.stack !== undefined && { stack: error.stack }),
    ...(error.cause !== undefined && depth < 5 && { cause: describeError(error.cause, depth + 1) }),
  };
};

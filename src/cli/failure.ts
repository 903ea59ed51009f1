import { CountersignError } from '../model/error.ts';
import { UsageError } from './command.ts';
import { exitCode, exitCodeOf } from './exit-codes.ts';
import { jsonText, printable } from './output.ts';

/** How a failed command is reported: as text for people, as JSON for programs, as an exit code for scripts. */
export type Failure = { readonly text: string; readonly json: string; readonly exitCode: number };

/** The metadata entry of a CountersignError under which the id of the failed request travels. */
export const requestIdKey = 'requestId';

/** Anything that a command threw -> Failure. `command` is its name, for the hint. */
export const describeFailure = (caught: unknown, command: string): Failure => {
  if (caught instanceof UsageError) {
    const text = `countersign ${command}: ${caught.message}\nTry 'countersign ${command} --help'.`;
    return failure(text, { code: 'usage', reason: 'USAGE', message: caught.message }, exitCode.usage);
  }
  if (caught instanceof CountersignError) return describeError(caught);
  const message = caught instanceof Error ? caught.message : String(caught);
  return failure(`error: ${message}`, { code: 'internal', reason: 'INTERNAL', message }, exitCode.failed);
};

const describeError = (error: CountersignError): Failure => {
  const { [requestIdKey]: requestId, ...metadata } = error.metadata;
  const lines = [`error: ${error.code} (${error.reason})`];
  lines.push(...problems(error).map((line) => `  ${line}`));
  lines.push(...Object.entries(metadata).map(([name, value]) => `  ${name}: ${value}`));
  if (requestId !== undefined) lines.push(`  request id: ${requestId}`);
  if (error.retryAfterMs !== undefined) lines.push(`  try again in ${seconds(error.retryAfterMs)}`);
  return failure(
    lines.join('\n'),
    {
      code: error.code,
      reason: error.reason,
      message: error.message,
      violations: error.violations,
      metadata,
      requestId,
      retryAfterMs: error.retryAfterMs,
    },
    exitCodeOf[error.code],
  );
};

/** A message of several lines says where in a file each mistake is; another one only lists the violations again. */
const problems = ({ message, violations }: CountersignError): readonly string[] =>
  violations.length === 0 || message.includes('\n')
    ? message.split('\n')
    : violations.map((violation) => `${violation.field}: ${violation.description}`);

const failure = (text: string, error: Readonly<Record<string, unknown>>, code: number): Failure => ({
  text: `${text.split('\n').map(printable).join('\n')}\n`,
  json: jsonText({ error: { ...error, exitCode: code } }),
  exitCode: code,
});

const seconds = (milliseconds: number): string =>
  milliseconds < 1000 ? `${milliseconds} ms` : `${Math.ceil(milliseconds / 100) / 10} s`;

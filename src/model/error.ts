/** Every way a request can fail. One table in `api/errors.ts` maps each to gRPC and HTTP. */
export type ErrorCode =
  | 'invalid_argument'
  | 'unauthenticated'
  | 'permission_denied'
  | 'not_found'
  | 'already_exists'
  | 'failed_precondition'
  | 'resource_exhausted'
  | 'cancelled'
  | 'deadline_exceeded'
  | 'unavailable'
  | 'data_loss'
  | 'internal'
  | 'unimplemented';

/** One bad field: its path in the request (`subject.image`, `formats[1]`) and how to mend it. */
export type FieldViolation = { readonly field: string; readonly description: string };

export type ErrorDetails = {
  /** The bad fields, all of them; only with `invalid_argument`. */
  readonly violations?: readonly FieldViolation[];
  /** Set when the same request may succeed later: milliseconds to wait before the next try. */
  readonly retryAfterMs?: number;
  /** Small facts that a program may branch on; shown to the caller, so never a secret. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** What really happened; for the log only, never shown to the caller. */
  readonly cause?: unknown;
};

/**
 * The one error that crosses rooms. `message` is for the caller: it says what is wrong and what to do.
 * `reason` is a stable UPPER_SNAKE_CASE word for programs (google.rpc.ErrorInfo.reason).
 */
export class CountersignError extends Error {
  readonly code: ErrorCode;
  readonly reason: string;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, reason: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CountersignError';
    this.code = code;
    this.reason = reason;
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
    this.metadata = details.metadata ?? {};
  }
}

/**
 * Turns anything caught into a CountersignError, once, at the edge. An unknown error becomes `internal` with a
 * generic message, so that nothing leaks; the original stays as `cause` for the log.
 */
export const toCountersignError = (caught: unknown): CountersignError =>
  caught instanceof CountersignError
    ? caught
    : new CountersignError(
        'internal',
        'INTERNAL',
        'An internal error occurred; the request id leads to its log entry.',
        {
          cause: caught,
        },
      );

/** `invalid_argument` for one or more fields; the message lists them all. */
export const invalidArgument = (violations: readonly FieldViolation[]): CountersignError =>
  new CountersignError(
    'invalid_argument',
    'INVALID_REQUEST',
    violations.map((violation) => `${violation.field}: ${violation.description}`).join('; '),
    { violations },
  );

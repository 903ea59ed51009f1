import type { ErrorCode } from '../model/error.ts';

/** Exit codes: stable, for scripts. */
export const exitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  unauthenticated: 3,
  denied: 4,
  notFound: 5,
  invalid: 6,
  retry: 7,
  cancelled: 8,
  negative: 10,
  nodeTooOld: 78,
} as const;

/** What each means, for `--help`. */
export const exitCodeMeanings: readonly (readonly [code: number, meaning: string])[] = [
  [exitCode.ok, 'done; verified; allowed'],
  [exitCode.failed, 'internal error, data loss, or anything not listed here'],
  [exitCode.usage, 'wrong command line'],
  [exitCode.unauthenticated, 'no token, or one that does not hold'],
  [exitCode.denied, 'no policy rule allows it'],
  [exitCode.notFound, 'no such image or key'],
  [exitCode.invalid, 'the request, or a file it names, cannot be used as it is; or key or registry refuse it'],
  [exitCode.retry, 'unavailable, overloaded or out of time: the same call may succeed later'],
  [exitCode.cancelled, 'cancelled'],
  [exitCode.negative, 'the answer is no: not verified, denied by explain, a failed policy test, not healthy'],
  [exitCode.nodeTooOld, 'this Node.js is too old'],
];

/** The exit code for an error of the service. */
export const exitCodeOf: Readonly<Record<ErrorCode, number>> = {
  invalid_argument: exitCode.invalid,
  unauthenticated: exitCode.unauthenticated,
  permission_denied: exitCode.denied,
  not_found: exitCode.notFound,
  already_exists: exitCode.invalid,
  failed_precondition: exitCode.invalid,
  resource_exhausted: exitCode.retry,
  cancelled: exitCode.cancelled,
  deadline_exceeded: exitCode.retry,
  unavailable: exitCode.retry,
  data_loss: exitCode.failed,
  internal: exitCode.failed,
  unimplemented: exitCode.failed,
};

import { status as grpcStatus } from '@grpc/grpc-js';
import type { CountersignError, ErrorCode, FieldViolation } from '../model/error.ts';

type Mapping = { readonly grpc: number; readonly http: number; readonly title: string };

/** The one table from an error code to both worlds; statuses as google/rpc/code.proto pairs them. */
export const errorTable: Readonly<Record<ErrorCode, Mapping>> = {
  invalid_argument: { grpc: grpcStatus.INVALID_ARGUMENT, http: 400, title: 'The request is not valid' },
  unauthenticated: { grpc: grpcStatus.UNAUTHENTICATED, http: 401, title: 'The caller is not known' },
  permission_denied: { grpc: grpcStatus.PERMISSION_DENIED, http: 403, title: 'Policy does not allow this' },
  not_found: { grpc: grpcStatus.NOT_FOUND, http: 404, title: 'There is no such thing' },
  already_exists: { grpc: grpcStatus.ALREADY_EXISTS, http: 409, title: 'It is already there' },
  failed_precondition: {
    grpc: grpcStatus.FAILED_PRECONDITION,
    http: 400,
    title: 'The system is not in a state for this',
  },
  resource_exhausted: { grpc: grpcStatus.RESOURCE_EXHAUSTED, http: 429, title: 'Too much is asked' },
  cancelled: { grpc: grpcStatus.CANCELLED, http: 499, title: 'The caller cancelled the request' },
  deadline_exceeded: { grpc: grpcStatus.DEADLINE_EXCEEDED, http: 504, title: 'The deadline passed' },
  unavailable: { grpc: grpcStatus.UNAVAILABLE, http: 503, title: 'Something needed is out of reach' },
  data_loss: { grpc: grpcStatus.DATA_LOSS, http: 500, title: 'Data came back damaged' },
  internal: { grpc: grpcStatus.INTERNAL, http: 500, title: 'An internal error' },
  unimplemented: { grpc: grpcStatus.UNIMPLEMENTED, http: 501, title: 'Not implemented' },
};

/** `ErrorInfo.domain` of every error. */
export const errorDomain = 'countersign';

const shorten = (text: string, length: number): string => {
  const wellFormed = text.toWellFormed();
  return wellFormed.length <= length ? wellFormed : `${wellFormed.slice(0, length - 1).toWellFormed()}…`;
};

const maxViolations = 100;
const maxDescriptionLength = 500;

/** What a caller may see of an error: every text well-formed UTF-16 and bounded. Never its cause or stack. */
export type Shown = {
  readonly message: string;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly violations: readonly FieldViolation[];
};

/**
 * `budget`: the most characters of message, and of violations and metadata each; what goes beyond is cut, and the number
 * of left-out violations is said in one last violation.
 */
export const shown = (
  error: CountersignError,
  budget: { readonly message: number; readonly details: number },
): Shown => {
  const violations: FieldViolation[] = [];
  let used = 0;
  for (const violation of error.violations) {
    const field = shorten(violation.field, 160);
    const description = shorten(violation.description, maxDescriptionLength);
    used += field.length + description.length;
    if (violations.length === maxViolations || used > budget.details) {
      violations.push({ field: '', description: `and ${error.violations.length - violations.length} more` });
      break;
    }
    violations.push({ field, description });
  }
  const metadata: Record<string, string> = {};
  let left = budget.details;
  for (const [key, value] of Object.entries(error.metadata)) {
    const text = shorten(value, 1024);
    left -= key.length + text.length;
    if (left < 0) break;
    metadata[key] = text;
  }
  return { message: shorten(error.message, budget.message), reason: error.reason, metadata, violations };
};

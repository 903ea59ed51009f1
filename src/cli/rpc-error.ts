import { createRegistry, fromBinary } from '@bufbuild/protobuf';
import { type Any, anyUnpack } from '@bufbuild/protobuf/wkt';
import { type ServiceError, status } from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../gen/google/rpc/status_pb.ts';
import { CountersignError, type ErrorCode, type FieldViolation } from '../model/error.ts';
import { requestIdKey } from './failure.ts';

const codes: Readonly<Record<number, ErrorCode>> = {
  [status.CANCELLED]: 'cancelled',
  [status.INVALID_ARGUMENT]: 'invalid_argument',
  [status.OUT_OF_RANGE]: 'invalid_argument',
  [status.DEADLINE_EXCEEDED]: 'deadline_exceeded',
  [status.NOT_FOUND]: 'not_found',
  [status.ALREADY_EXISTS]: 'already_exists',
  [status.PERMISSION_DENIED]: 'permission_denied',
  [status.RESOURCE_EXHAUSTED]: 'resource_exhausted',
  [status.FAILED_PRECONDITION]: 'failed_precondition',
  [status.ABORTED]: 'unavailable',
  [status.UNIMPLEMENTED]: 'unimplemented',
  [status.UNAVAILABLE]: 'unavailable',
  [status.DATA_LOSS]: 'data_loss',
  [status.UNAUTHENTICATED]: 'unauthenticated',
};

/**
 * A failed call -> the CountersignError that the service meant, from the google.rpc details in its trailers. A failure
 * that never reached the service (refused connection, TLS, deadline) has no details and is described from here.
 */
export const fromServiceError = (error: ServiceError, authority: string): CountersignError => {
  const details = detailsOf(error);
  if (details !== undefined) return described(error.code, error.details, details, error);
  const reason = status[error.code] ?? 'UNKNOWN';
  return new CountersignError(codes[error.code] ?? 'internal', reason, describeLocal(error, authority), {
    cause: error,
  });
};

/** What the service says of one item -> the CountersignError that it meant. */
export const fromStatus = (said: Status): CountersignError =>
  described(said.code, said.message, readDetails(said.details), undefined);

const described = (code: number, message: string, details: Details, cause: unknown): CountersignError =>
  new CountersignError(codes[code] ?? 'internal', details.reason ?? status[code] ?? 'UNKNOWN', message, {
    violations: details.violations,
    metadata: {
      ...details.metadata,
      ...(details.requestId === undefined ? {} : { [requestIdKey]: details.requestId }),
    },
    ...(details.retryAfterMs === undefined ? {} : { retryAfterMs: details.retryAfterMs }),
    cause,
  });

type Details = {
  reason: string | undefined;
  requestId: string | undefined;
  retryAfterMs: number | undefined;
  metadata: Record<string, string>;
  violations: readonly FieldViolation[];
};

const detailsOf = (error: ServiceError): Details | undefined => {
  const [raw] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!(raw instanceof Uint8Array)) return undefined;
  try {
    return readDetails(fromBinary(StatusSchema, raw).details);
  } catch {
    return undefined;
  }
};

const readDetails = (details: readonly Any[]): Details => {
  const found: Details = {
    reason: undefined,
    requestId: undefined,
    retryAfterMs: undefined,
    metadata: {},
    violations: [],
  };
  for (const detail of details) readDetail(detail, found);
  return found;
};

const readDetail = (detail: Any, found: Details): void => {
  const info = anyUnpack(detail, ErrorInfoSchema);
  if (info !== undefined) {
    found.reason = info.reason;
    found.metadata = info.metadata;
  }
  found.requestId ??= anyUnpack(detail, RequestInfoSchema)?.requestId;
  const delay = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
  if (delay !== undefined) found.retryAfterMs = Number(delay.seconds) * 1000 + Math.round(delay.nanos / 1e6);
  const bad = anyUnpack(detail, BadRequestSchema);
  if (bad !== undefined) {
    found.violations = bad.fieldViolations.map(({ field, description }) => ({ field, description }));
  }
};

const describeLocal = (error: ServiceError, authority: string): string => {
  if (error.code === status.DEADLINE_EXCEEDED) {
    return `${authority} did not answer within the time that --timeout gives.`;
  }
  if (error.code === status.UNAVAILABLE) return `${authority} ${unreachable(error.details, authority)}`;
  return error.details === '' ? `${authority} answered with ${status[error.code]}.` : error.details;
};

/** What grpc-js and OpenSSL say of a connection that failed -> what to do about it. */
const unreachable = (details: string, authority: string): string => {
  const why = /Last error: (?:Error: )?(.*?)(?:\.?\s*Resolution note.*)?$/s.exec(details)?.[1] ?? details;
  const said = why.replace(/\s*\([\dT:.-]+Z\)/g, '').trim();
  if (/wrong version number|packet length too long/i.test(said)) {
    return `does not speak TLS; if it is meant to be asked in plain text, write grpc://${authority}.`;
  }
  if (/Protocol error/i.test(said)) {
    return 'does not speak gRPC; check the port of --server (REST and metrics have ports of their own).';
  }
  if (/certificate required|bad certificate|handshake failure/i.test(said)) {
    return 'wants another client certificate: name it with --client-cert and --client-key.';
  }
  if (/certificate|altnames/i.test(said)) {
    return `has a certificate that is not trusted (${said}); name the one of its CA with --ca-file.`;
  }
  return `cannot be reached (${said}); check --server, and whether it speaks TLS (grpcs://) or plain text (grpc://).`;
};

/** What the details of a status may be, for its JSON. */
export const detailTypes = createRegistry(ErrorInfoSchema, RequestInfoSchema, BadRequestSchema, RetryInfoSchema);

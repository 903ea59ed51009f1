import { create, createRegistry, toBinary } from '@bufbuild/protobuf';
import { type Any, anyPack, type DurationSchema } from '@bufbuild/protobuf/wkt';
import { Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from '../gen/google/rpc/error_details_pb.ts';
import { type Status, StatusSchema } from '../gen/google/rpc/status_pb.ts';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CountersignError } from '../model/error.ts';
import { errorDomain, errorTable, shown } from './errors.ts';

/** Clients bound trailers, some at 8 KiB: details are base64 in one, beside the message. */
const budget = { message: 1000, details: 2800 };

const duration = (ms: number): MessageInitShape<typeof DurationSchema> => ({
  seconds: BigInt(Math.floor(ms / 1000)),
  nanos: Math.floor(ms % 1000) * 1_000_000,
});

/**
 * An error as a message: google.rpc.Status with ErrorInfo and RequestInfo, BadRequest when fields are bad and RetryInfo when
 * a retry may succeed.
 */
export const statusMessage = (error: CountersignError, requestId: string): Status => {
  const { message, reason, metadata, violations } = shown(error, budget);
  const details: Any[] = [
    anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason, domain: errorDomain, metadata })),
    anyPack(RequestInfoSchema, create(RequestInfoSchema, { requestId })),
  ];
  if (violations.length > 0) {
    details.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...violations] })));
  }
  if (error.retryAfterMs !== undefined) {
    const retryDelay = duration(error.retryAfterMs);
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  return create(StatusSchema, { code: errorTable[error.code].grpc, message, details });
};

/** An error as gRPC carries it: code, message and `grpc-status-details-bin`, the `statusMessage`. */
export const toStatus = (error: CountersignError, requestId: string): ServiceError => {
  const rich = statusMessage(error, requestId);
  const trailers = new Metadata();
  const status = toBinary(StatusSchema, rich);
  trailers.set('grpc-status-details-bin', Buffer.from(status.buffer, status.byteOffset, status.byteLength));
  trailers.set('x-request-id', requestId);
  return { name: 'Error', message: rich.message, code: rich.code, details: rich.message, metadata: trailers };
};

/** What the details of a status may be, for its JSON. */
export const detailTypes = createRegistry(ErrorInfoSchema, RequestInfoSchema, BadRequestSchema, RetryInfoSchema);

import { STATUS_CODES } from 'node:http';
import type { CountersignError } from '../model/error.ts';
import { errorTable, shown } from './errors.ts';

/** The media type of every error over HTTP (RFC 9457). */
const problemMediaType = 'application/problem+json';

const budget = { message: 8000, details: 64_000 };

export type Problem = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** JSON text. */
  readonly body: string;
};

/**
 * An error as HTTP carries it: RFC 9457 problem details with our extension members, and the headers that go with it
 * (`Retry-After` in whole seconds, rounded up; `WWW-Authenticate` with 401).
 */
export const toProblem = (error: CountersignError, requestId: string, status?: number): Problem => {
  const mapping = errorTable[error.code];
  const { message, reason, metadata, violations } = shown(error, budget);
  const retryAfterSeconds = error.retryAfterMs === undefined ? undefined : Math.ceil(error.retryAfterMs / 1000);
  const httpStatus = status ?? mapping.http;
  const body = {
    type: `urn:countersign:problem:${error.code.replaceAll('_', '-')}`,
    title: status === undefined ? mapping.title : (STATUS_CODES[status] ?? mapping.title),
    status: httpStatus,
    detail: message,
    instance: `urn:countersign:request:${requestId}`,
    code: error.code,
    reason,
    requestId,
    violations,
    metadata,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
  const headers: Record<string, string> = {
    'content-type': problemMediaType,
    'x-request-id': requestId,
    'cache-control': 'no-store',
  };
  if (retryAfterSeconds !== undefined) headers['retry-after'] = `${retryAfterSeconds}`;
  if (httpStatus === 401) headers['www-authenticate'] = 'Bearer realm="countersign"';
  return { status: httpStatus, headers, body: JSON.stringify(body) };
};

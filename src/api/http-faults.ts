import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { CountersignError, type ErrorCode } from '../model/error.ts';
import { toProblem } from './problem.ts';
import { requestIdFrom } from './request-id.ts';

/** A failure that exists only in HTTP, with the status that HTTP has for it. */
export type HttpFault = { readonly error: CountersignError; readonly status: number };

const fault = (code: ErrorCode, status: number, reason: string, message: string): HttpFault => ({
  error: new CountersignError(code, reason, message),
  status,
});

export const noSuchPath = (): HttpFault => fault('not_found', 404, 'NO_SUCH_PATH', 'There is no such path.');

export const metricsOff = (): HttpFault =>
  fault(
    'not_found',
    404,
    'METRICS_OFF',
    'Metrics are off; turn them on in the configuration with telemetry.metrics: true.',
  );

export const methodNotAllowed = (allowed: readonly string[]): HttpFault =>
  fault('unimplemented', 405, 'METHOD_NOT_ALLOWED', `Use ${allowed.join(' or ')} for this path.`);

export const unsupportedMediaType = (): HttpFault =>
  fault(
    'invalid_argument',
    415,
    'UNSUPPORTED_MEDIA_TYPE',
    'Send the body as application/json in UTF-8, without content-encoding.',
  );

export const notAcceptable = (mediaType: string): HttpFault =>
  fault(
    'invalid_argument',
    406,
    'NOT_ACCEPTABLE',
    `The answer is ${mediaType}; send an Accept that admits it, or none.`,
  );

/** What fastify itself refuses; undefined for anything that is not the caller's fault. */
export const faultOfFramework = (error: {
  readonly code?: string;
  readonly statusCode?: number;
}): HttpFault | undefined => {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return fault(
        'invalid_argument',
        413,
        'BODY_TOO_LARGE',
        'The body is larger than the limit; sign large blobs by digest.',
      );
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return unsupportedMediaType();
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return fault('invalid_argument', 400, 'BAD_CONTENT_LENGTH', 'content-length is not the length of the body.');
    case 'FST_ERR_BAD_URL':
      return fault('invalid_argument', 400, 'BAD_URL', 'The path is not valid percent-encoded UTF-8.');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return fault('invalid_argument', 414, 'URI_TOO_LONG', 'A part of the path is longer than any valid value.');
    default:
      return error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
        ? fault('invalid_argument', error.statusCode, 'BAD_REQUEST', 'The request is not acceptable HTTP.')
        : undefined;
  }
};

const faultOfConnection = (code: string | undefined): HttpFault => {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return fault('invalid_argument', 431, 'HEADERS_TOO_LARGE', 'The headers are larger than 16 KiB.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return fault('deadline_exceeded', 408, 'REQUEST_TIMEOUT', 'The request did not arrive in time.');
    default:
      return fault('invalid_argument', 400, 'MALFORMED_HTTP', 'This is not well-formed HTTP/1.1.');
  }
};

/** Answers bytes that are not an HTTP request, or not in time, and closes the connection. */
export const answerBrokenConnection = (
  error: Error & { readonly code?: string },
  socket: Socket,
): HttpFault | undefined => {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return undefined;
  }
  const found = faultOfConnection(error.code);
  const { status, headers, body } = toProblem(found.error, requestIdFrom(undefined), found.status);
  const lines = Object.entries({ ...headers, connection: 'close', 'content-length': `${Buffer.byteLength(body)}` });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\n${head}\r\n${body}`);
  return found;
};

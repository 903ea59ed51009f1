import { errors } from 'undici';
import { CountersignError } from '../model/error.ts';

/** What a caller is told to wait after a failure that says nothing itself: milliseconds. */
export const defaultRetryAfterMs = 500;

const messages: Readonly<Record<string, readonly [reason: string, what: string]>> = {
  ECONNREFUSED: ['CONNECTION_REFUSED', 'refused the connection'],
  ECONNRESET: ['CONNECTION_RESET', 'closed the connection before it answered'],
  EPIPE: ['CONNECTION_RESET', 'closed the connection before it answered'],
  UND_ERR_SOCKET: ['CONNECTION_RESET', 'closed the connection before it answered'],
  ENOTFOUND: ['HOST_NOT_FOUND', 'is not known to DNS'],
  EAI_AGAIN: ['HOST_NOT_FOUND', 'could not be looked up in DNS'],
  EHOSTUNREACH: ['HOST_UNREACHABLE', 'cannot be reached'],
  ENETUNREACH: ['HOST_UNREACHABLE', 'cannot be reached'],
  ETIMEDOUT: ['CONNECT_TIMEOUT', 'did not accept a connection in time'],
  UND_ERR_CONNECT_TIMEOUT: ['CONNECT_TIMEOUT', 'did not accept a connection in time'],
  UND_ERR_HEADERS_TIMEOUT: ['RESPONSE_TIMEOUT', 'did not answer in time'],
  UND_ERR_BODY_TIMEOUT: ['RESPONSE_TIMEOUT', 'stopped in the middle of its answer'],
  UND_ERR_HEADERS_OVERFLOW: ['RESPONSE_TOO_LARGE', 'answered with too many headers'],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['RESPONSE_MALFORMED', 'answered with fewer or more bytes than it announced'],
  UND_ERR_CLOSED: ['CLIENT_CLOSED', 'cannot be asked: the client is shutting down'],
  UND_ERR_DESTROYED: ['CLIENT_CLOSED', 'cannot be asked: the client is shutting down'],
};

/** Anything that the transport threw -> `unavailable` with the host named; a CountersignError stays as it is. */
export const toNetworkError = (caught: unknown, host: string): CountersignError => {
  if (caught instanceof CountersignError) return caught;
  const code = codeOf(caught);
  const [reason, what] = messages[code] ?? otherMessage(code, caught);
  return new CountersignError('unavailable', reason, `${host} ${what}.`, {
    cause: caught,
    metadata: { host },
    ...(reason === 'RESPONSE_TOO_LARGE' || reason === 'TLS_FAILED' ? {} : { retryAfterMs: defaultRetryAfterMs }),
  });
};

/** `unavailable`, reason `RESPONSE_TOO_LARGE`; not worth a retry. */
export const responseTooLarge = (host: string, maxBytes: number): CountersignError =>
  new CountersignError('unavailable', 'RESPONSE_TOO_LARGE', `${host} answered with more than ${maxBytes} bytes.`, {
    metadata: { host },
  });

const otherMessage = (code: string, caught: unknown): readonly [string, string] => {
  if (caught instanceof errors.HTTPParserError)
    return ['RESPONSE_MALFORMED', 'answered with something that is not HTTP'];
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG') {
    return [
      'TLS_FAILED',
      'does not speak TLS; if plain text is meant, say so (of a registry: in registry.plainHttpHosts)',
    ];
  }
  if (/CERT|TLS|SSL|EPROTO|SELF_SIGNED|ISSUER|SIGNATURE/.test(code)) {
    return ['TLS_FAILED', `did not pass TLS verification (${code}); check its certificate and the configured CA`];
  }
  return ['CONNECTION_FAILED', 'could not be asked: the connection failed'];
};

/** Node nests: an AggregateError of one error per address, a `cause` below undici's own. */
const codeOf = (caught: unknown): string => {
  for (let error = caught, depth = 0; error instanceof Error && depth < 4; depth++) {
    if ('code' in error && typeof error.code === 'string' && error.code !== '') return error.code;
    error = error instanceof AggregateError ? error.errors[0] : error.cause;
  }
  return '';
};

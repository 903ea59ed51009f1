import { CountersignError, type ErrorCode, type ErrorDetails } from '../model/error.ts';
import type { HttpResponse } from '../net/port.ts';
import { parseRetryAfter } from '../net/retry.ts';

/** What a transient failure waits at least before it is tried again: milliseconds. */
const transientMs = 100;
/** People unseal, so callers need not hurry; this service does not try again by itself. */
const sealedMs = 10_000;
const throttledMs = 1_000;

/** Vault's own words, for the log: bounded, and from the `errors` list alone, so that nothing sent is quoted. */
const words = (body: unknown): string => {
  const errors = typeof body === 'object' && body !== null && 'errors' in body ? body.errors : undefined;
  return (Array.isArray(errors) ? errors.filter((each) => typeof each === 'string').join('; ') : '').slice(0, 500);
};

type Row = readonly [code: ErrorCode, reason: string, message: string, retryAfterMs?: number | undefined];

/** What Vault says of the key itself; by its words, since Vault 1.21 answers 500 where a version may not sign. */
const keyState = (host: string, said: string): Row | undefined => {
  if (/soft[- ]?deleted/i.test(said)) {
    return [
      'failed_precondition',
      'KEY_DISABLED',
      `The key is deleted in Vault (${host}): restore it, or configure another.`,
    ];
  }
  if (/requested version|minimum encryption/i.test(said)) {
    return [
      'failed_precondition',
      'KEY_VERSION_DISABLED',
      `Vault (${host}) does not sign with the pinned version of the key: check min_encryption_version, or use another version.`,
    ];
  }
  if (/does not support signing/i.test(said)) {
    return ['failed_precondition', 'KEY_UNSUPPORTED', `The key in Vault (${host}) is of a type that cannot sign.`];
  }
  // The limit is that of Vault's listener on one JSON string, 1 MiB unless configured; 500 in Vault 1.21.
  if (/exceeds allowed length|request body too large/i.test(said)) {
    return [
      'failed_precondition',
      'MESSAGE_TOO_LARGE',
      `Vault (${host}) refuses so large a message (768 KiB unless its listener's max_json_string_value_length is raised); ` +
        'Ed25519 keys sign whole messages: use an ECDSA or RSA key, which sign digests.',
    ];
  }
  return /key not found|no handler/i.test(said) ? notFound(host) : undefined;
};

const notFound = (host: string): Row => [
  'failed_precondition',
  'KEY_NOT_FOUND',
  `Vault (${host}) has no such key: check key, mount and namespace of the configuration.`,
];

const denied = (host: string): Row => [
  'failed_precondition',
  'KEY_ACCESS_DENIED',
  `Vault (${host}) denies the service access to the key: it needs "read" on keys/<key> and "update" on sign/<key>/* (Ed25519: sign/<key>), and a token that is still valid.`,
];

const unavailable = (host: string, what: string, retryAfterMs?: number): Row => [
  'unavailable',
  'KEY_UNAVAILABLE',
  `Vault (${host}) ${what}.`,
  retryAfterMs,
];

const classify = (host: string, status: number, said: string, retryAfter: number | undefined): Row => {
  const state = [400, 404, 413, 500].includes(status) ? keyState(host, said) : undefined;
  if (state !== undefined) return state;
  if (status === 401 || status === 403) return denied(host);
  if (status === 404) return notFound(host);
  if (status === 429) {
    return [
      'resource_exhausted',
      'KEY_THROTTLED',
      `Vault (${host}) limits the rate of signatures.`,
      retryAfter ?? throttledMs,
    ];
  }
  if (status === 503 && /sealed/i.test(said)) {
    return ['unavailable', 'KEY_SEALED', `Vault (${host}) is sealed: unseal it.`, sealedMs];
  }
  if (status === 412 || status === 472 || status === 473 || status >= 500) {
    return unavailable(host, `cannot answer now (status ${status})`, Math.max(retryAfter ?? 0, transientMs));
  }
  if (status >= 300 && status < 400) {
    return unavailable(
      host,
      'redirects to another node: configure the address of the active one, or of a load balancer',
    );
  }
  return ['failed_precondition', 'KEY_REQUEST_REFUSED', `Vault (${host}) refuses the request with status ${status}.`];
};

/** An answer that is no success -> the error for it (key-backends.md section 1.7). `retryAfterMs` marks what may be retried. */
export const vaultError = (host: string, response: HttpResponse, body: unknown): CountersignError => {
  const said = words(body);
  const retryAfter = parseRetryAfter(response.headers['retry-after'], new Date());
  const [code, reason, message, retryAfterMs] = classify(host, response.status, said, retryAfter);
  const details: ErrorDetails = {
    cause: new Error(`Vault answered ${response.status}: ${said}`),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  return new CountersignError(code, reason, message, details);
};

/** What the outbound client threw -> `KEY_UNAVAILABLE` for every network failure; ends and refusals stay as they are. */
export const vaultNetworkError = (caught: unknown): unknown => {
  if (!(caught instanceof CountersignError) || caught.code !== 'unavailable') return caught;
  const retryAfterMs = caught.retryAfterMs === undefined ? undefined : transientMs;
  return new CountersignError('unavailable', 'KEY_UNAVAILABLE', `Vault cannot be reached: ${caught.message}`, {
    cause: caught,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
};

/** A 200 whose content is not what Vault documents: nothing in it is used. */
export const vaultGarbage = (host: string, what: string): CountersignError =>
  new CountersignError(
    'data_loss',
    'KEY_ANSWER_MALFORMED',
    `Vault (${host}) answered with something unusable: ${what}.`,
  );

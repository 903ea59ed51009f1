import { CountersignError, type ErrorCode, type ErrorDetails } from '../../model/error.ts';
import type { HttpResponse } from '../../net/port.ts';
import { parseRetryAfter } from '../../net/retry.ts';

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

const refused = (reason: string, message: string): Row => ['failed_precondition', reason, message];

/**
 * What Vault says of the key itself; by its words, since Vault 1.21 answers 500 where a version may not sign, and a batch has
 * no status for each of its items.
 */
const keyStates: readonly (readonly [said: RegExp, row: (host: string) => Row])[] = [
  [
    /soft[- ]?deleted/i,
    (host) =>
      refused('KEY_DISABLED', `The key is soft-deleted in OpenBao (${host}): restore it, or configure another.`),
  ],
  [
    /higher than (?:the )?latest/i,
    (host) => refused('KEY_NOT_FOUND', `The key in Vault (${host}) has no such version: configure one that it has.`),
  ],
  [
    /private part/i,
    (host) =>
      refused(
        'KEY_UNSUPPORTED',
        `Vault (${host}) has the public key alone of the pinned version: import its private key, or use another version.`,
      ),
  ],
  [
    /requested version|minimum encryption|no such key version/i,
    (host) =>
      refused(
        'KEY_DISABLED',
        `Vault (${host}) does not sign with the pinned version of the key: lower its min_encryption_version, or use another version.`,
      ),
  ],
  [
    /does not support signing|signing not supported/i,
    (host) => refused('KEY_UNSUPPORTED', `The key in Vault (${host}) is of a type that cannot sign.`),
  ],
  // The limit is that of Vault's listener on one JSON string, 1 MiB unless configured; 500 in Vault 1.21.
  [
    /exceeds allowed length|request body too large/i,
    (host) =>
      refused(
        'MESSAGE_TOO_LARGE',
        `Vault (${host}) refuses so large a message (768 KiB unless its listener's max_json_string_value_length is raised); ` +
          'Ed25519 keys sign whole messages: use an ECDSA or RSA key, which sign digests.',
      ),
  ],
  [
    /no handler|route entry not found/i,
    (host) =>
      refused(
        'KEY_NOT_FOUND',
        `Vault (${host}) has no transit engine there: check mount and namespace of the configuration.`,
      ),
  ],
  [/key not found/i, (host) => notFound(host)],
];

const keyState = (host: string, said: string): Row | undefined =>
  keyStates.find(([pattern]) => pattern.test(said))?.[1](host);

const notFound = (host: string): Row =>
  refused('KEY_NOT_FOUND', `Vault (${host}) has no such key: check key, mount and namespace of the configuration.`);

const denied = (host: string, said: string): Row =>
  refused(
    'KEY_ACCESS_DENIED',
    /invalid token|bad token/i.test(said)
      ? `Vault (${host}) does not know the service's token (any more): give it a new one, or a login that gets one.`
      : `Vault (${host}) denies the service access to the key: its policy needs "read" on keys/<key> and "update" on ` +
          'sign/<key>/* (Ed25519: sign/<key>), below the mount; or its token expired.',
  );

const unavailable = (host: string, what: string, retryAfterMs?: number): Row => [
  'unavailable',
  'KEY_UNAVAILABLE',
  `Vault (${host}) ${what}.`,
  retryAfterMs,
];

/** Why a node that is up does not answer; the statuses are those of sys/health, which load balancers pass on. */
const notServing = (status: number, said: string): string => {
  if (status === 412) return 'has not caught up with the active node yet (status 412)';
  if (status === 472) return 'is a disaster recovery secondary, which does not sign: configure the primary';
  if (status === 473 || /standby|not active|no active|active (?:cluster )?node/i.test(said)) {
    return `is a standby node, and no active one answers (status ${status})`;
  }
  return `cannot answer now (status ${status})`;
};

const classify = (host: string, status: number, said: string, retryAfter: number | undefined): Row => {
  const state = [400, 404, 413, 500].includes(status) ? keyState(host, said) : undefined;
  if (state !== undefined) return state;
  if (status === 401 || status === 403) return denied(host, said);
  if (status === 404) return notFound(host);
  if (status === 429) {
    const message = `Vault (${host}) limits the rate of requests (sys/quotas/rate-limit).`;
    return ['resource_exhausted', 'KEY_THROTTLED', message, retryAfter ?? throttledMs];
  }
  if (status === 503 && /sealed/i.test(said)) {
    return ['unavailable', 'KEY_SEALED', `Vault (${host}) is sealed: unseal it.`, sealedMs];
  }
  if (status === 412 || status === 472 || status === 473 || status >= 500) {
    return unavailable(host, notServing(status, said), Math.max(retryAfter ?? 0, transientMs));
  }
  if (status >= 300 && status < 400) {
    return unavailable(
      host,
      'redirects to another node: configure the address of the active one, or of a load balancer',
    );
  }
  return refused('KEY_REQUEST_REFUSED', `Vault (${host}) refuses the request with status ${status}.`);
};

const toError = ([code, reason, message, retryAfterMs]: Row, cause: string): CountersignError => {
  const details: ErrorDetails = {
    cause: new Error(cause),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
  return new CountersignError(code, reason, message, details);
};

/** An answer that is no success -> the error for it (key-backends.md section 1.7). `retryAfterMs` marks what may be retried. */
export const vaultError = (host: string, response: HttpResponse, body: unknown): CountersignError => {
  const said = words(body);
  const retryAfter = parseRetryAfter(response.headers['retry-after'], new Date());
  return toError(classify(host, response.status, said, retryAfter), `Vault answered ${response.status}: ${said}`);
};

/** The `error` of one item of a batch -> the error that the same input alone would have had. */
export const vaultItemError = (host: string, error: string): CountersignError => {
  const said = error.slice(0, 500);
  return toError(classify(host, 500, said, undefined), `Vault answered in a batch: ${said}`);
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

import { CountersignError, type ErrorCode, type ErrorDetails } from '../../model/error.ts';
import type { HttpResponse } from '../../net/port.ts';
import { parseRetryAfter } from '../../net/retry.ts';
import type { VersionState } from '../port.ts';

/** What a transient failure waits at least before it is tried again: milliseconds. */
const transientMs = 100;
const throttledMs = 1_000;

type Row = readonly [code: ErrorCode, reason: string, message: string, retryAfterMs?: number];

/** What Azure says of a refusal: `{"error":{"code","message","innererror":{"code"}}}`. */
type Said = { readonly code: string; readonly inner: string; readonly message: string };

const unavailable = (message: string, retryAfterMs?: number): Row =>
  retryAfterMs === undefined
    ? ['unavailable', 'KEY_UNAVAILABLE', message]
    : ['unavailable', 'KEY_UNAVAILABLE', message, retryAfterMs];
const refused = (reason: string, message: string): Row => ['failed_precondition', reason, message];

const states: Readonly<Record<Exclude<VersionState, 'enabled' | 'pending' | 'destroyed'>, (vault: string) => Row>> = {
  disabled: (vault) =>
    refused('KEY_DISABLED', `The version of the key in ${vault} is disabled: enable it, or configure another.`),
  'not-yet-valid': (vault) =>
    refused(
      'KEY_NOT_YET_VALID',
      `The version of the key in ${vault} is not valid yet: wait, or change its activation date (nbf), and check the clock.`,
    ),
  expired: (vault) =>
    refused(
      'KEY_EXPIRED',
      `The version of the key in ${vault} has expired: rotate the key, or change its expiration date (exp).`,
    ),
  'pending-deletion': (vault) =>
    refused(
      'KEY_PENDING_DELETION',
      `The key in ${vault} is deleted, and recoverable: recover it, or configure another.`,
    ),
};

const forbidden = (vault: string, { inner, message }: Said): Row => {
  if (inner === 'KeyDisabled' || /disabled key/i.test(message)) return states.disabled(vault);
  if (/NotYetValid/i.test(inner) || /not yet valid|before .*nbf|nbf/i.test(message))
    return states['not-yet-valid'](vault);
  if (/Expired/i.test(inner) || /expired/i.test(message)) return states.expired(vault);
  if (/ByFirewall|ByConnection/i.test(inner) || /client address|public network access/i.test(message)) {
    return refused(
      'KEY_NETWORK_DENIED',
      `The firewall of ${vault} refuses the address of the service: allow its network, or use a private endpoint.`,
    );
  }
  if (inner === 'KeyOperationForbidden' || /not permitted on this key/i.test(message)) return notForSigning(vault);
  return refused(
    'KEY_ACCESS_DENIED',
    `${vault} denies the service access to the key: its identity needs to read the key and to sign with it (data actions ` +
      'keys/read and keys/sign/action); a role that was just assigned takes some minutes.',
  );
};

const notForSigning = (vault: string): Row =>
  refused('KEY_UNSUPPORTED', `The key in ${vault} is not for signing: its permitted operations must include sign.`);

const conflict = (vault: string, { inner, message }: Said): Row => {
  if (/BeingRecovered/i.test(inner)) {
    return unavailable(`The key in ${vault} is being recovered.`, throttledMs);
  }
  if (/Deleted/i.test(inner) || /deleted but recoverable/i.test(message)) return states['pending-deletion'](vault);
  return unavailable(`${vault} is changing the key at this moment.`, throttledMs);
};

const classify = (vault: string, status: number, said: Said, retryAfter: number | undefined): Row => {
  if (status === 429) {
    return [
      'resource_exhausted',
      'KEY_THROTTLED',
      `${vault} limits the rate of requests.`,
      Math.max(retryAfter ?? throttledMs, transientMs),
    ];
  }
  if (status === 408 || status >= 500) {
    const message = `${vault} cannot answer now (status ${status}).`;
    return unavailable(message, Math.max(retryAfter ?? 0, transientMs));
  }
  if (status === 401) {
    return refused(
      'KEY_ACCESS_DENIED',
      `${vault} does not accept the service's token: check tenantId and authorityHost, and the clock of the machine.`,
    );
  }
  if (status === 403) return forbidden(vault, said);
  if (status === 409) return conflict(vault, said);
  if (status === 404) {
    return refused(
      'KEY_NOT_FOUND',
      `${vault} has no such key or version: check the name, the version and the vault; a deleted key can be recovered.`,
    );
  }
  if (status === 400 && /incompatible/i.test(said.message)) {
    return refused('KEY_UNSUPPORTED', `The key in ${vault} does not sign with the algorithm that its type has here.`);
  }
  return refused(
    'KEY_REQUEST_REFUSED',
    `${vault} refuses the request with status ${status} (${said.code || 'no code'}).`,
  );
};

const toError = ([code, reason, message, retryAfterMs]: Row, cause: unknown): CountersignError => {
  const details: ErrorDetails = { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return new CountersignError(code, reason, message, details);
};

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
const textOf = (value: unknown, name: string): string => {
  const text = member(value, name);
  return typeof text === 'string' ? text.slice(0, 300) : '';
};

const readSaid = (body: Uint8Array): Said => {
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(body));
  } catch {
    parsed = undefined;
  }
  const error = member(parsed, 'error');
  const inner = member(error, 'innererror') ?? member(error, 'innerError');
  const code = /^\w{1,64}$/.exec(textOf(error, 'code'))?.[0] ?? '';
  return { code, inner: textOf(inner, 'code'), message: textOf(error, 'message') };
};

/** An answer that is no success -> the error for it (key-backends.md section 1.7). `retryAfterMs` marks what may be retried. */
export const azureError = (vault: string, response: HttpResponse): CountersignError => {
  const said = readSaid(response.body);
  const retryAfter = parseRetryAfter(response.headers['retry-after'], new Date());
  const id = response.headers['x-ms-request-id']?.slice(0, 64) ?? 'none';
  const words = `${said.code} ${said.inner}: ${said.message}`;
  const cause = new Error(`${vault} answered ${response.status}, request ${id}: ${words}`);
  return toError(classify(vault, response.status, said, retryAfter), cause);
};

/** A version that is not `enabled` -> the error for it; undefined for one that signs. */
export const azureStateError = (vault: string, state: VersionState): CountersignError | undefined => {
  if (state === 'enabled' || state === 'pending' || state === 'destroyed') return undefined;
  return toError(states[state](vault), new Error(`state ${state}`));
};

/** An answer of success whose content is not what Azure documents: nothing in it is used. */
export const azureGarbage = (vault: string, what: string): CountersignError =>
  new CountersignError('data_loss', 'KEY_ANSWER_MALFORMED', `${vault} answered with something unusable: ${what}.`);

/** Did a request take too long by itself, or fail on its way? */
const isTransportFailure = (caught: unknown): caught is CountersignError =>
  caught instanceof CountersignError && (caught.code === 'unavailable' || caught.code === 'deadline_exceeded');

/** What the outbound client threw -> `KEY_UNAVAILABLE`. */
const unreachable = (vault: string, network: CountersignError): CountersignError => {
  if (network.reason.startsWith('KEY_')) return network;
  const timedOut = network.code === 'deadline_exceeded';
  const message = timedOut ? `${vault} did not answer in time.` : `${vault} cannot be reached: ${network.message}`;
  const retriable = timedOut || network.retryAfterMs !== undefined;
  return toError(unavailable(message, retriable ? transientMs : undefined), network);
};

/**
 * Whatever the SDK threw that is not an answer's error -> the error for it: failures of the transport, the client's own
 * refusals (plain errors, told by their words), and what becomes of an answer that it cannot read (a TypeError or a
 * RestError; `status` is what had been answered). Anything else is a mistake of ours and stays what it is.
 */
export const azureSdkError = (vault: string, caught: unknown, status: number | undefined): unknown => {
  if (isTransportFailure(caught)) return unreachable(vault, caught);
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const { message } = caught;
  if (status === 401) {
    return toError(classify(vault, 401, { code: '', inner: '', message: '' }, undefined), new Error('status 401'));
  }
  if (/challenge/i.test(message)) {
    const why =
      'the resource that it asks a token for does not fit its host: check vaultUrl, and what stands between the service and ' +
      'Azure';
    return toError(
      refused('KEY_CHALLENGE_REFUSED', `${vault} was given no token: ${why}.`),
      new Error(message.slice(0, 300)),
    );
  }
  if (/^Key .* expired at /.test(message)) return toError(states.expired(vault), new Error('told by the client'));
  if (/^Key .* can't be used before /.test(message)) {
    return toError(states['not-yet-valid'](vault), new Error('told by the client'));
  }
  if (/^Operation \w+ is not supported on key /.test(message)) {
    return toError(notForSigning(vault), new Error('told by the client'));
  }
  return status === 200 || member(caught, 'statusCode') === 200
    ? azureGarbage(vault, 'it is not the JSON that Azure documents')
    : caught;
};

/** What is known of a failed attempt to get a token: what the transport threw, and the status of the last answer. */
export type TokenFailure = { readonly network: unknown; readonly status: number | undefined };

/** Codes of Entra ID and OAuth and of the system; never the words around them, which may quote what was sent. */
const whyNoToken = (caught: Error): string => {
  const told = /AADSTS\d{3,9}/.exec(caught.message)?.[0];
  const code = [caught, caught.cause]
    .flatMap((each) => [
      member(each, 'errorCode'),
      member(member(each, 'errorResponse'), 'error'),
      member(each, 'code'),
    ])
    .find((each) => each !== undefined);
  const word = typeof code === 'string' && /^[\w-]{1,64}$/.test(code) ? code : caught.name;
  return told ?? word;
};

/** Whatever was thrown while a token was asked for -> `unavailable` where that may pass, or `KEY_ACCESS_DENIED`. */
export const azureTokenError = (vault: string, caught: unknown, { network, status }: TokenFailure): unknown => {
  if (isTransportFailure(network)) {
    const message = `The issuer of tokens for ${vault} cannot be reached: ${network.message}`;
    const retriable = network.code === 'deadline_exceeded' || network.retryAfterMs !== undefined;
    return toError(unavailable(message, retriable ? transientMs : undefined), network);
  }
  if (network instanceof CountersignError) return network;
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const why = whyNoToken(caught);
  const cause = new Error(`token: ${why}, status ${status ?? 'none'}`);
  if (status === 429 || (status ?? 0) >= 500) {
    const message = `The issuer of tokens for ${vault} cannot answer now (status ${status}).`;
    return toError(unavailable(message, transientMs), cause);
  }
  const message =
    `There is no token for ${vault} (${why}): check the credential of the key (tenantId, clientId, and its secret, ` +
    'certificate, federated token or managed identity) and authorityHost.';
  return toError(refused('KEY_ACCESS_DENIED', message), cause);
};

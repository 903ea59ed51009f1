import { CountersignError, type ErrorCode, type ErrorDetails } from '../../model/error.ts';
import { toNetworkError } from '../../net/errors.ts';

/** What a transient failure waits at least before it is tried again: milliseconds. */
export const transientMs = 100;
const throttledMs = 500;

export type Row = readonly [code: ErrorCode, reason: string, message: string, retryAfterMs?: number];

export const refused = (reason: string, message: string): Row => ['failed_precondition', reason, message];

/** What DescribeKey told of the end of the key, RFC 3339. */
export type Dates = { readonly deletionDate?: string | undefined; readonly validTo?: string | undefined };

const invalidState = (kms: string, said: string): Row => {
  if (/pending deletion/i.test(said)) return pendingDeletion(kms);
  if (/pending import/i.test(said)) return pendingImport(kms);
  if (/unavailable/i.test(said)) return keyStoreUnavailable(kms);
  return refused('KEY_INVALID_STATE', `The key in ${kms} is in a state in which it cannot sign: see its KeyState.`);
};

const disabled = (kms: string): Row =>
  refused('KEY_DISABLED', `The key in ${kms} is disabled: enable it (EnableKey), or configure another.`);
const pendingDeletion = (kms: string, { deletionDate }: Dates = {}): Row =>
  refused(
    'KEY_PENDING_DELETION',
    `The key in ${kms} is scheduled for deletion${deletionDate === undefined ? '' : ` on ${deletionDate}`}: cancel that ` +
      '(CancelKeyDeletion, then EnableKey), or configure another.',
  );
const pendingImport = (kms: string): Row =>
  refused('KEY_PENDING_IMPORT', `The key in ${kms} has no key material: import it (ImportKeyMaterial).`);
const expired = (kms: string, validTo: string): Row =>
  refused(
    'KEY_EXPIRED',
    `The imported key material of the key in ${kms} expired on ${validTo}: import it again (ImportKeyMaterial).`,
  );
const keyStoreUnavailable = (kms: string): Row =>
  refused('KEY_STORE_UNAVAILABLE', `The key store of the key in ${kms} is not connected: connect it.`);

const states: Readonly<Record<string, (kms: string, dates: Dates) => Row>> = {
  Disabled: disabled,
  PendingDeletion: pendingDeletion,
  PendingReplicaDeletion: pendingDeletion,
  PendingImport: pendingImport,
  Unavailable: keyStoreUnavailable,
  Creating: (kms) => refused('KEY_PENDING', `The key in ${kms} is still being made: wait for KeyState Enabled.`),
};

export const throttles = new Set([
  'ThrottlingException',
  'Throttling',
  'ThrottledException',
  'RequestThrottledException',
  'RequestLimitExceeded',
  'TooManyRequestsException',
]);
const transient = new Set([
  'KMSInternalException',
  'KeyUnavailableException',
  'DependencyTimeoutException',
  'InternalFailure',
  'ServiceUnavailable',
  'ServiceUnavailableException',
]);
/** After these other credentials (or a corrected clock) may help. */
export const staleCredentials = new Set([
  'ExpiredTokenException',
  'ExpiredToken',
  'RequestExpired',
  'RequestTimeTooSkewed',
  'UnrecognizedClientException',
  'InvalidClientTokenId',
  'InvalidSignatureException',
  'SignatureDoesNotMatch',
]);
const classify = (kms: string, name: string, status: number | undefined, said: string): Row => {
  if (throttles.has(name) || status === 429) {
    return ['resource_exhausted', 'KEY_THROTTLED', `${kms} limits the rate of requests.`, throttledMs];
  }
  if (transient.has(name) || (status !== undefined && status >= 500)) {
    return ['unavailable', 'KEY_UNAVAILABLE', `${kms} cannot answer now (${name}).`, transientMs];
  }
  if (name === 'DisabledException') return disabled(kms);
  if (name === 'KMSInvalidStateException') return invalidState(kms, said);
  if (name === 'NotFoundException') {
    return refused(
      'KEY_NOT_FOUND',
      `${kms} has no such key: check its id, alias or ARN, the region, and the account of the credentials.`,
    );
  }
  if (name === 'AccessDeniedException' || name === 'AccessDenied') {
    return refused(
      'KEY_ACCESS_DENIED',
      `${kms} denies the service access to the key: it needs kms:DescribeKey, kms:GetPublicKey and kms:Sign by its IAM ` +
        "policy and by the key's policy.",
    );
  }
  if (staleCredentials.has(name)) {
    return refused(
      'KEY_ACCESS_DENIED',
      `${kms} does not accept the service's AWS credentials (${name}): renew them, and check the clock of the machine.`,
    );
  }
  if (name === 'InvalidKeyUsageException' || name === 'UnsupportedOperationException') {
    return refused('KEY_UNSUPPORTED', `The key in ${kms} cannot be used to sign so (${name}).`);
  }
  return refused('KEY_REQUEST_REFUSED', `${kms} refuses the request (${name}).`);
};

export const toError = ([code, reason, message, retryAfterMs]: Row, cause: unknown): CountersignError => {
  const details: ErrorDetails = { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return new CountersignError(code, reason, message, details);
};

/** The first line alone: below it, a refused signature is explained with all signed headers, the session token too. */
const firstLine = (text: string): string => (text.split('\n', 1)[0] ?? '').slice(0, 300);

export const member = (value: object, name: string): unknown => (value as Readonly<Record<string, unknown>>)[name];
const metadataOf = (error: Error): object => {
  const metadata = member(error, '$metadata');
  return typeof metadata === 'object' && metadata !== null ? metadata : {};
};

export const statusOf = (error: Error): number | undefined => {
  const status = member(metadataOf(error), 'httpStatusCode');
  return typeof status === 'number' ? status : undefined;
};

/** For the log: the name, status and request id that AWS gave, and its first words. */
export const causeOf = (error: Error): Error => {
  const requestId = member(metadataOf(error), 'requestId');
  const from = `${error.name}, status ${statusOf(error) ?? 'none'}, request ${requestId ?? 'none'}`;
  return new Error(`${from}: ${firstLine(error.message)}`);
};

/** Is this what becomes of credentials that expired? Others may then help. */
export const isStaleCredentials = (caught: unknown): boolean =>
  caught instanceof Error && staleCredentials.has(caught.name);

/**
 * `KeyState` of DescribeKey -> the error for a state in which the key does not sign; undefined for one in which it does. KMS
 * deletes imported material once it expired, and the key is then pending import: that is told as what it is.
 */
export const awsStateError = (kms: string, state: string, dates: Dates): CountersignError | undefined => {
  const { validTo } = dates;
  const cause = new Error(`KeyState ${state}`);
  // Updating is a multi-Region key whose primary changes; it signs.
  const signs = state === 'Enabled' || state === 'Updating';
  if ((signs || state === 'PendingImport') && validTo !== undefined && Date.parse(validTo) <= Date.now()) {
    return toError(expired(kms, validTo), cause);
  }
  if (signs) return undefined;
  const row = Object.hasOwn(states, state) ? states[state]?.(kms, dates) : undefined;
  return toError(row ?? invalidState(kms, ''), cause);
};

/** An answer of success whose content is not what AWS documents: nothing in it is used. */
export const awsGarbage = (kms: string, what: string): CountersignError =>
  new CountersignError('data_loss', 'KEY_ANSWER_MALFORMED', `${kms} answered with something unusable: ${what}.`);

export const regionMissing = (cause: Error): CountersignError =>
  toError(refused('KEY_REGION_MISSING', 'No AWS region is known for the key: set its region.'), cause);

export const endpointUnknown = (service: string, cause: Error): CountersignError =>
  toError(
    refused('KEY_ENDPOINT_UNKNOWN', `${service} has no such endpoint: check region, fips and dualStack of the key.`),
    cause,
  );

/**
 * Whatever the SDK threw -> the error for it (key-backends.md section 1.7): by the name that AWS gives, since throttles and
 * refusals alike come with status 400. `retryAfterMs` marks what may be retried. `kms` names the service in messages.
 */
export const awsError = (kms: string, host: string, caught: unknown): unknown => {
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const status = statusOf(caught);
  const fault = member(caught, '$fault') !== undefined;
  if (!fault && status !== undefined && status < 300) return awsGarbage(kms, 'no JSON of KMS');
  if (fault || status !== undefined) {
    return toError(classify(kms, caught.name, status, fault ? caught.message : ''), causeOf(caught));
  }
  if (/^Region is missing/.test(caught.message)) return regionMissing(caught);
  if (caught.name === 'EndpointError') return endpointUnknown(kms, caught);
  const timedOut = caught.name === 'TimeoutError';
  if (!timedOut && (caught instanceof TypeError || typeof member(caught, 'code') !== 'string')) return caught;
  const network = toNetworkError(caught, host);
  const message = timedOut ? `${kms} did not answer in time.` : `${kms} cannot be reached: ${network.message}`;
  const retriable = timedOut || network.retryAfterMs !== undefined;
  return new CountersignError('unavailable', 'KEY_UNAVAILABLE', message, {
    cause: network,
    ...(retriable ? { retryAfterMs: transientMs } : {}),
  });
};

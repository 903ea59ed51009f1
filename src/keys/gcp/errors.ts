import { CountersignError, type ErrorCode, type ErrorDetails } from '../../model/error.ts';
import { responseTooLarge } from '../../net/errors.ts';

/** What a transient failure waits at least before it is tried again: milliseconds. */
const transientMs = 100;
const throttledMs = 500;

type Row = readonly [code: ErrorCode, reason: string, message: string, retryAfterMs?: number];

const refused = (reason: string, message: string): Row => ['failed_precondition', reason, message];

/** Status codes of gRPC by number (google.rpc.Code). */
const statusNames = [
  'OK',
  'CANCELLED',
  'UNKNOWN',
  'INVALID_ARGUMENT',
  'DEADLINE_EXCEEDED',
  'NOT_FOUND',
  'ALREADY_EXISTS',
  'PERMISSION_DENIED',
  'RESOURCE_EXHAUSTED',
  'FAILED_PRECONDITION',
  'ABORTED',
  'OUT_OF_RANGE',
  'UNIMPLEMENTED',
  'INTERNAL',
  'UNAVAILABLE',
  'DATA_LOSS',
  'UNAUTHENTICATED',
];

const transient = new Set(['CANCELLED', 'UNKNOWN', 'DEADLINE_EXCEEDED', 'ABORTED', 'INTERNAL', 'UNAVAILABLE']);

const gone = 'create another version (gcloud kms keys versions create), or configure one that is enabled';

/** What a version in each state needs; ENABLED alone signs. States are those of CryptoKeyVersionState in resources.proto. */
const states: Readonly<Record<string, readonly [reason: string, message: string]>> = {
  DISABLED: ['KEY_DISABLED', 'is disabled: enable it (gcloud kms keys versions enable), or configure another'],
  DESTROY_SCHEDULED: [
    'KEY_PENDING_DELETION',
    'is scheduled for destruction: take that back (gcloud kms keys versions restore, then enable), or configure another',
  ],
  DESTROYED: ['KEY_DESTROYED', `is destroyed: ${gone}`],
  PENDING_EXTERNAL_DESTRUCTION: ['KEY_DESTROYED', `is destroyed: ${gone}`],
  EXTERNAL_DESTRUCTION_FAILED: ['KEY_DESTROYED', `is destroyed: ${gone}`],
  PENDING_GENERATION: ['KEY_PENDING', 'is still being generated: wait, or configure another'],
  PENDING_IMPORT: ['KEY_PENDING', 'is still being imported: wait, or configure another'],
  GENERATION_FAILED: ['KEY_DESTROYED', `has no key material, since its generation failed: ${gone}`],
  IMPORT_FAILED: ['KEY_DESTROYED', `has no key material, since its import failed: import it anew, or ${gone}`],
};

const stateRow = (kms: string, what: string, state: string): Row => {
  const [reason, words] = (Object.hasOwn(states, state) ? states[state] : undefined) ?? [
    'KEY_INVALID_STATE',
    'is in a state in which it cannot sign: see gcloud kms keys versions describe',
  ];
  return refused(reason, `${what} in ${kms} ${words}.`);
};

const classify = (kms: string, status: string, said: string, reason: string | undefined): Row => {
  if (reason === 'SERVICE_DISABLED' || reason === 'BILLING_DISABLED') {
    return refused(
      'KEY_ACCESS_DENIED',
      `${kms} is not enabled for the project: enable cloudkms.googleapis.com (${reason}).`,
    );
  }
  if (status === 'RESOURCE_EXHAUSTED') {
    return ['resource_exhausted', 'KEY_THROTTLED', `${kms} limits the rate of requests.`, throttledMs];
  }
  if (status === 'UNAVAILABLE' && /certificate|self[- ]signed|unable to (?:verify|get)|altname|SSL/i.test(said)) {
    return [
      'unavailable',
      'KEY_UNAVAILABLE',
      `${kms} did not pass TLS verification: check endpoint and caFile of the key.`,
    ];
  }
  if (transient.has(status))
    return ['unavailable', 'KEY_UNAVAILABLE', `${kms} cannot answer now (${status}).`, transientMs];
  if (status === 'NOT_FOUND') {
    return refused('KEY_NOT_FOUND', `${kms} has no such key: check its project, location, keyRing, key and version.`);
  }
  if (status === 'PERMISSION_DENIED') {
    return refused(
      'KEY_ACCESS_DENIED',
      `${kms} denies the service access to the key, or there is no such key: on the key it needs ` +
        'cloudkms.cryptoKeyVersions.list, .get, .viewPublicKey and .useToSign.',
    );
  }
  if (status === 'UNAUTHENTICATED') {
    return refused(
      'KEY_ACCESS_DENIED',
      `${kms} does not accept the service's Google credentials: renew them, and check the clock of the machine.`,
    );
  }
  if (status === 'FAILED_PRECONDITION') {
    return stateRow(kms, 'The version of the key', /current state is: ([A-Z_]{1,64})/.exec(said)?.[1] ?? '');
  }
  return refused('KEY_REQUEST_REFUSED', `${kms} refuses the request (${status}).`);
};

const toError = ([code, reason, message, retryAfterMs]: Row, cause: unknown): CountersignError => {
  const details: ErrorDetails = { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  return new CountersignError(code, reason, message, details);
};

const firstLine = (text: string): string => (text.split('\n', 1)[0] ?? '').slice(0, 300);
const member = (value: object, name: string): unknown => (value as Readonly<Record<string, unknown>>)[name];
const textOf = (value: object, name: string): string | undefined => {
  const found = member(value, name);
  return typeof found === 'string' ? found : undefined;
};

/** Is this what becomes of a token that expired or was revoked? Another may then help. */
export const isUnauthenticated = (caught: unknown): boolean => caught instanceof Error && member(caught, 'code') === 16;

/** State of a version -> the error for a state in which it does not sign; undefined for one in which it does. */
export const gcpStateError = (kms: string, version: string, state: string): CountersignError | undefined =>
  state === 'ENABLED' ? undefined : toError(stateRow(kms, `Version ${version} of the key`, state), new Error(state));

/** An answer of success whose content is not what Google documents: nothing in it is used. */
export const gcpGarbage = (kms: string, what: string): CountersignError =>
  new CountersignError('data_loss', 'KEY_ANSWER_MALFORMED', `${kms} answered with something unusable: ${what}.`);

/** A request or an answer that did not arrive as it was sent. Another attempt may succeed, says service.proto. */
export const gcpCorrupted = (kms: string, what: string): CountersignError =>
  new CountersignError(
    'data_loss',
    'KEY_CHECKSUM_MISMATCH',
    `${what} did not arrive as it was sent to or from ${kms}.`,
    {
      retryAfterMs: transientMs,
    },
  );

/**
 * Whatever the SDK threw for a call -> the error for it (key-backends.md section 1.7), by gRPC status. `retryAfterMs` marks
 * what may be retried. `kms` names the service in messages. What is wrong in our own code stays what it is.
 */
export const gcpError = (kms: string, host: string, caught: unknown): unknown => {
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const code = member(caught, 'code');
  if (typeof code !== 'number') return caught;
  const status = statusNames[code] ?? 'UNKNOWN';
  const said = firstLine(textOf(caught, 'details') ?? caught.message);
  // These two are said by the gRPC library here, not by the service.
  if (/^Received message larger than max/.test(said)) return responseTooLarge(host, 1024 * 1024);
  if (status === 'DATA_LOSS' || /message parsing error/.test(said)) return gcpGarbage(kms, 'no message of Cloud KMS');
  if (status === 'INVALID_ARGUMENT' && /checksum|crc32c/i.test(said)) return gcpCorrupted(kms, 'The request to sign');
  const reason = textOf(caught, 'reason');
  const cause = new Error(`${status}${reason === undefined ? '' : ` (${reason.slice(0, 64)})`}: ${said}`);
  return toError(classify(kms, status, said, reason), cause);
};

const networkCode = /^(?:ECONN|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ETIMEDOUT|EPIPE)/;

/**
 * Whatever was thrown while credentials were looked for -> `unavailable` where that may pass, or `KEY_ACCESS_DENIED`. Of what
 * was thrown only a code is kept: the request that failed, and with it a token, hangs on the error.
 */
export const gcpCredentialsError = (kms: string, caught: unknown): unknown => {
  if (!(caught instanceof Error) || caught instanceof CountersignError) return caught;
  const response = member(caught, 'response');
  const status = typeof response === 'object' && response !== null ? Number(member(response, 'status')) : Number.NaN;
  const code = textOf(caught, 'code') ?? caught.name;
  const oauth = /\b(?:invalid_(?:grant|client|request|scope|target)|unauthorized_client|access_denied)\b/.exec(
    caught.message,
  );
  const why = oauth?.[0] ?? (Number.isNaN(status) ? code.slice(0, 64) : `status ${status}`);
  const cause = new Error(`Google credentials: ${why}`);
  if (status === 429 || status >= 500 || networkCode.test(code)) {
    const message = `The source of the Google credentials for ${kms} cannot answer now (${why}).`;
    return toError(['unavailable', 'KEY_UNAVAILABLE', message, transientMs], cause);
  }
  const message =
    `There are no Google credentials for ${kms} (${why}): give the service a service account (GKE workload identity, ` +
    'metadata server), or a credentialsFile of workload identity federation.';
  return toError(refused('KEY_ACCESS_DENIED', message), cause);
};

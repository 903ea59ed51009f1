import { CountersignError, type ErrorCode } from '../../model/error.ts';
import { ckr } from './constants.ts';
import type { Problem } from './protocol.ts';

/** What a transient failure waits at least before it is tried again: milliseconds. */
const transientMs = 100;
const throttledMs = 500;

/** How a user gets the native part of `pkcs11js`. */
export const buildCommand = 'npm run build:pkcs11';

type Row = readonly [code: ErrorCode, reason: string, message: (at: string, name: string) => string, retryMs?: number];

const refused = (reason: string, message: Row[2]): Row => ['failed_precondition', reason, message];
const transient: Row = [
  'unavailable',
  'KEY_UNAVAILABLE',
  (at, name) => `${at} cannot answer now (${name}).`,
  transientMs,
];
const throttled: Row = [
  'resource_exhausted',
  'KEY_THROTTLED',
  (at, name) =>
    `${at} has no room for another operation (${name}): lower maxSessions, or raise the sessions of the token.`,
  throttledMs,
];
const lost: Row = [
  'unavailable',
  'KEY_UNAVAILABLE',
  (at, name) => `${at} lost its sessions, and a new login did not help (${name}).`,
  transientMs,
];
const pin = (fix: string): Row =>
  refused('KEY_ACCESS_DENIED', (at, name) => `${at} does not log in (${name}): ${fix}.`);
const wrongPin = pin('correct the PIN. It is not tried again before it changes, so that the token is not locked');
const keyUse: Row = refused(
  'KEY_UNSUPPORTED',
  (at, name) => `${at} does not sign with this key (${name}): it needs CKA_SIGN, and a mechanism for its type.`,
);

/** CKR_* -> the error (key-backends.md section 1.7). */
const rows: ReadonlyMap<number, Row> = new Map<number, Row>([
  [ckr.hostMemory, throttled],
  [ckr.deviceMemory, throttled],
  [ckr.sessionCount, throttled],
  [ckr.generalError, transient],
  [ckr.functionFailed, transient],
  [ckr.deviceError, transient],
  [ckr.functionCanceled, transient],
  [ckr.sessionHandleInvalid, lost],
  [ckr.sessionClosed, lost],
  [ckr.deviceRemoved, lost],
  [ckr.tokenNotPresent, lost],
  [ckr.tokenNotRecognized, lost],
  [ckr.userNotLoggedIn, lost],
  [ckr.cryptokiNotInitialized, lost],
  [ckr.slotIdInvalid, lost],
  [ckr.keyHandleInvalid, lost],
  [ckr.objectHandleInvalid, lost],
  [ckr.pinIncorrect, wrongPin],
  [ckr.pinInvalid, wrongPin],
  [ckr.pinLenRange, wrongPin],
  [ckr.pinExpired, pin('set a new user PIN')],
  [ckr.pinLocked, pin('the user PIN is locked; the security officer has to unlock it')],
  [ckr.userPinNotInitialized, pin('set a user PIN')],
  [ckr.keyFunctionNotPermitted, keyUse],
  [ckr.keyTypeInconsistent, keyUse],
  [ckr.keySizeRange, keyUse],
  [ckr.mechanismInvalid, keyUse],
  [ckr.mechanismParamInvalid, keyUse],
  [ckr.dataInvalid, keyUse],
  [ckr.dataLenRange, keyUse],
]);

const pinCodes = new Set<number>([ckr.pinIncorrect, ckr.pinInvalid, ckr.pinLenRange, ckr.pinExpired, ckr.pinLocked]);

/** Did the token refuse the PIN itself, so that the same PIN must not be tried again? */
export const isPinRefused = (problem: Problem): boolean => problem.kind === 'pkcs11' && pinCodes.has(problem.code);

/** Is this what a login, anew and in a new process, may mend? */
export const isLost = (problem: Problem): boolean => problem.kind === 'pkcs11' && rows.get(problem.code) === lost;

const listed = (seen: readonly string[]): string => (seen.length === 0 ? 'there is none' : seen.join('; '));

const fail = (code: ErrorCode, reason: string, message: string, retryAfterMs?: number, cause?: unknown) =>
  new CountersignError(code, reason, message, { cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });

/**
 * The error for a problem. `at` names the token in messages: `PKCS#11 token "release"`. `knownBefore`: the token was there
 * before, so its absence may pass.
 */
export const pkcs11Error = (at: string, problem: Problem, knownBefore = false): CountersignError => {
  switch (problem.kind) {
    case 'pkcs11': {
      const { method, code, name } = problem;
      const cause = new Error(`${method}: ${name} (${code})`);
      const [errorCode, reason, message, retryMs] =
        rows.get(code) ?? refused('KEY_REQUEST_REFUSED', () => `${at} refuses the request (${name}).`);
      return fail(errorCode, reason, message(at, name), retryMs, cause);
    }
    case 'addon':
      return fail(
        'failed_precondition',
        'PKCS11_NOT_BUILT',
        `Keys of kind pkcs11 need the native part of pkcs11js, which is not built: run ${buildCommand} ` +
          '(deploy/keys/pkcs11.md says what it needs).',
        undefined,
        new Error(problem.message),
      );
    case 'module':
      return fail(
        'failed_precondition',
        'PKCS11_MODULE_UNUSABLE',
        `The PKCS#11 module of ${at} cannot be loaded (${problem.message}): check the path, that the service may read it, ` +
          'and that the libraries it needs are installed.',
      );
    case 'token':
      if (problem.matches > 1) {
        return fail(
          'failed_precondition',
          'KEY_TOKEN_AMBIGUOUS',
          `${at} is not one token: name its serial number. There are: ${listed(problem.seen)}.`,
        );
      }
      return knownBefore
        ? fail('unavailable', 'KEY_UNAVAILABLE', `${at} is not there any more.`, 1_000)
        : fail(
            'failed_precondition',
            'KEY_TOKEN_NOT_FOUND',
            `${at} is not there: check label, serial number and slot. The module has: ${listed(problem.seen)}.`,
          );
    case 'key':
      if (problem.matches > 1) {
        return fail(
          'failed_precondition',
          'KEY_AMBIGUOUS',
          `${at} has several such private keys: name one by id (CKA_ID) as well. They are: ${listed(problem.seen)}.`,
        );
      }
      return fail(
        'failed_precondition',
        'KEY_NOT_FOUND',
        `${at} has no such private key: check label and id (CKA_LABEL, CKA_ID). It has: ${listed(problem.seen)}.`,
      );
    case 'bug':
      return fail(
        'data_loss',
        'KEY_ANSWER_MALFORMED',
        `${at} answered with something unusable.`,
        undefined,
        problem.message,
      );
  }
};

/** The process of the module ended while it was needed. */
export const processEnded = (at: string, how: string): CountersignError =>
  fail('unavailable', 'KEY_UNAVAILABLE', `${at} cannot answer now: the process of its module ended.`, transientMs, how);

/** More is asked at once than waits. */
export const tooMany = (at: string): CountersignError =>
  fail('resource_exhausted', 'KEY_THROTTLED', `${at} has too many requests waiting.`, throttledMs);

/** An answer of success with a content that it cannot have. */
export const pkcs11Garbage = (at: string, what: string): CountersignError =>
  fail('data_loss', 'KEY_ANSWER_MALFORMED', `${at} answered with something unusable: ${what}.`);

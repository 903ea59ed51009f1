import { createHash } from 'node:crypto';
import { CountersignError } from '../../model/error.ts';
import { ckf } from './constants.ts';
import type { TokenFacts } from './protocol.ts';
import { readSecretFile } from '../read-file.ts';

/** Where the user PIN is; at most one of both. Without either there is no login. */
export type PinSource = { readonly pin: string | undefined; readonly pinFile: string | undefined };

/** Reads the PIN, each time anew. Throws `KEY_FILE_UNREADABLE`, or `KEY_ACCESS_DENIED` for an empty one. */
export const readPin = async ({ pin, pinFile }: PinSource): Promise<string | undefined> => {
  const found = pinFile === undefined ? pin : await readSecretFile(pinFile, 'the PIN file');
  if (found === '' || found?.includes('\0') === true) throw denied('The PIN must be a text that is not empty.');
  return found;
};

const denied = (message: string): CountersignError =>
  new CountersignError('failed_precondition', 'KEY_ACCESS_DENIED', message);

const digest = (pin: string): string => createHash('sha256').update(pin).digest('hex');

/**
 * PINs that a token refused, for as long as the process lives: a token counts wrong ones and locks itself, so the same PIN is
 * never tried twice, however often the key is opened.
 */
const refusedPins = new Map<string, string>();

const tokenId = (module: string, { serial, label }: TokenFacts): string => JSON.stringify([module, serial, label]);

/** Throws `KEY_ACCESS_DENIED` where a login must not be tried: `at` names the token. */
export const assertMayLogIn = (at: string, module: string, token: TokenFacts, pin: string | undefined): void => {
  if (pin === undefined) {
    if ((token.flags & ckf.loginRequired) === 0) return;
    throw denied(`${at} wants a login: set pinFile (or pin) of the key.`);
  }
  if ((token.flags & ckf.userPinInitialized) === 0) throw denied(`${at} has no user PIN yet: set one.`);
  if (refusedPins.get(tokenId(module, token)) === digest(pin)) {
    throw denied(
      `${at} refused this PIN before: correct it. It is not tried again before it changes, so that the token is not locked.`,
    );
  }
  if ((token.flags & ckf.userPinLocked) !== 0) {
    throw denied(`${at}: the user PIN is locked; the security officer has to unlock it.`);
  }
  if ((token.flags & ckf.userPinFinalTry) !== 0) {
    throw denied(
      `${at} locks its user PIN after one more wrong try, which the service does not risk: log in once by hand with the ` +
        'right PIN, which resets the count.',
    );
  }
};

export const rememberRefused = (module: string, token: TokenFacts, pin: string): void => {
  refusedPins.set(tokenId(module, token), digest(pin));
};

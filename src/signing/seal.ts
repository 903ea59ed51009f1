import type { SignatureFormat } from '../formats/port.ts';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import type { KeyVersion, Sealed, Signable, ToSign } from '../model/signature.ts';
import type { KeysByName } from './ports.ts';
import { verifySealed } from './verify-sealed.ts';

/**
 * One thing in one format: `format.message` -> `key.sign` -> `format.seal`, then the sealed bytes are opened and verified
 * by the code that callers verify with. Throws `unavailable`, reason KEY_ROTATED, when another version than `expected`
 * signed, and `internal`, reason SEAL_BROKEN, when what was sealed does not verify: neither leaves the service.
 */
export const sealOne = async (
  signable: Signable,
  format: SignatureFormat,
  expected: KeyVersion,
  keys: KeysByName,
  now: Date,
  context: Context,
): Promise<Sealed> => {
  const toSign: ToSign = format.message(signable, now);
  const { signature, version } = await keys.sign(expected.key, toSign, context);
  if (version.version !== expected.version) {
    throw new CountersignError(
      'unavailable',
      'KEY_ROTATED',
      `Key "${expected.key}" changed from version ${expected.version} to ${version.version} while signing; try again.`,
      { retryAfterMs: 100 },
    );
  }
  const sealed = format.seal(signable, toSign, signature, version, now);
  const fault = verifySealed(sealed, signable, version, toSign, signature);
  if (fault !== undefined) {
    throw new CountersignError(
      'internal',
      'SEAL_BROKEN',
      'The finished signature did not verify; it was thrown away.',
      {
        cause: new Error(`sealed ${format.name} of ${signable.digest}: ${fault}`),
      },
    );
  }
  return sealed;
};

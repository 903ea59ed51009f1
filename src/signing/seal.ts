import type { SignatureFormat } from '../formats/port.ts';
import type { HeldKey } from '../keys/key-source.ts';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import type { Sealed, Signable, ToSign } from '../model/signature.ts';
import { verifySealed } from './verify-sealed.ts';

/**
 * One thing in several formats, by one key version: `format.message` of all, signed together, then each sealed, opened again
 * and verified by the code that callers verify with. Throws what the key throws for the first that it could not sign, and
 * `internal`, reason SEAL_BROKEN, when what was sealed does not verify: nothing of it leaves the service.
 */
export const sealAll = async (
  signable: Signable,
  formats: readonly SignatureFormat[],
  held: HeldKey,
  now: Date,
  context: Context,
): Promise<Sealed[]> => {
  const messages = formats.map((format) => format.message(signable, now));
  const signatures = await signEach(held, messages, context);
  return formats.map((format, index) => {
    const toSign = messages[index];
    const signature = signatures[index];
    if (toSign === undefined || signature === undefined) throw new Error('a signature is missing');
    return sealOne(signable, format, held, toSign, signature, now);
  });
};

const signEach = (held: HeldKey, messages: readonly ToSign[], context: Context): Promise<readonly Uint8Array[]> => {
  const [only, second] = messages;
  if (only !== undefined && second === undefined) return held.sign(only, context).then((signature) => [signature]);
  return held.signMany(messages, context).then((outcomes) =>
    outcomes.map((outcome) => {
      if (outcome instanceof CountersignError) throw outcome;
      return outcome;
    }),
  );
};

const sealOne = (
  signable: Signable,
  format: SignatureFormat,
  { description: { signing } }: HeldKey,
  toSign: ToSign,
  signature: Uint8Array,
  now: Date,
): Sealed => {
  const sealed = format.seal(signable, toSign, signature, signing, now);
  const fault = verifySealed(sealed, signable, signing, toSign, signature);
  if (fault === undefined) return sealed;
  throw new CountersignError('internal', 'SEAL_BROKEN', 'The finished signature did not verify; it was thrown away.', {
    cause: new Error(`sealed ${format.name} of ${signable.digest}: ${fault}`),
  });
};

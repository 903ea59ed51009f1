import { getFips } from 'node:crypto';
import { isRefusal } from './keys/fips.ts';
import type { Keyring } from './keys/keyring.ts';
import { openContext } from './model/context.ts';
import { CountersignError } from './model/error.ts';
import type { Logger } from './telemetry/log.ts';

/** How long the start waits for the backends of keys that must be looked at first, milliseconds. */
const fipsStartMs = 20_000;

/** With fips a key that was reached and may not be used ends the start; one that is out of reach is looked at when it is not. */
export const assertFipsKeys = async (keyring: Keyring, logger: Logger): Promise<void> => {
  if (getFips() === 0)
    logger.warn({}, 'fips: the OpenSSL of this Node.js is not in FIPS mode; keys are judged all the same');
  const owned = openContext('fips', fipsStartMs);
  const refused = (await keyring.warm(owned.context)).filter(({ error }) => isRefusal(error));
  owned.dispose();
  if (refused.length === 0) return;
  const lines = refused.map(({ name, error }) => `  ${name}: ${error.message}`);
  throw new CountersignError(
    'failed_precondition',
    'FIPS_REFUSED',
    `With fips these keys are refused:\n${lines.join('\n')}`,
  );
};

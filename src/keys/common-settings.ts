import { z } from 'zod';
import type { ProtectionLevel } from './port.ts';

/** Protection levels, weakest first: a key satisfies a demand when it stands at or after it. */
export const protectionLevels = [
  'software',
  'hsm',
  'fips-140-2-l2',
  'fips-140-2-l3',
  'fips-140-3-l3',
] as const satisfies readonly ProtectionLevel[];

/** Does a key guarded like `actual` satisfy a demand for `required`? */
export const protects = (actual: ProtectionLevel, required: ProtectionLevel): boolean =>
  protectionLevels.indexOf(actual) >= protectionLevels.indexOf(required);

/** A path or other single-line text. */
export const line = z
  .string()
  .min(1, 'must not be empty')
  .max(4096, 'must have at most 4096 characters')
  .refine((text) => !/\p{Cc}/u.test(text), 'must not hold control characters');

/** A secret that the configuration took from the environment. */
export const secret = z.string().max(64 * 1024, 'must have at most 65536 characters');

/** What every kind of key has in the configuration. */
export const commonSettings = {
  name: z
    .string()
    .regex(
      /^[a-z0-9][a-z0-9._-]{0,62}$/,
      'must be 1 to 63 lower-case letters, digits, dots, dashes or underscores, starting with a letter or digit',
    )
    .describe('The name that requests and policy use for the key.'),
  requireProtection: z
    .enum(protectionLevels)
    .optional()
    .describe('The key is not used unless its backend states at least this protection level.'),
  rsaPadding: z
    .enum(['pkcs1v15', 'pss'])
    .optional()
    .describe('Padding of RSA signatures. Default pkcs1v15, the only one that cosign verifies with a public key.'),
};

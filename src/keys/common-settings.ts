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

/** The name of a configured key. */
export const keyName = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._-]{0,62}$/,
    'must be 1 to 63 lower-case letters, digits, dots, dashes or underscores, starting with a letter or digit',
  );

const count = (least: number, most: number) =>
  z.int().min(least, `must be at least ${least}`).max(most, `must be at most ${most}`);

/** How much one key may be used (`keys/quota.ts`). */
const limits = z
  .strictObject({
    perSecond: z
      .number()
      .min(0.01, 'must be at least 0.01')
      .max(1_000_000, 'must be at most 1000000')
      .optional()
      .describe('Signatures a second in the long run. Default: not limited.'),
    burst: count(1, 1_000_000)
      .optional()
      .describe('Signatures that may be made at once after a pause. Default: as perSecond, at least 1.'),
    maxConcurrent: count(1, 10_000)
      .optional()
      .describe('Calls of the backend at one time; a batch is one. Default: not limited.'),
    maxQueued: count(0, 10_000)
      .optional()
      .describe(
        'Requests that may wait for their turn, all callers together; more are refused with RESOURCE_EXHAUSTED. Default 256.',
      ),
  })
  .superRefine(({ perSecond, burst, maxConcurrent, maxQueued }, context) => {
    const refuse = (path: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [path], message });
    };
    if (burst !== undefined && perSecond === undefined) refuse('burst', 'has no meaning without perSecond');
    if (maxQueued !== undefined && perSecond === undefined && maxConcurrent === undefined) {
      refuse('maxQueued', 'has no meaning without perSecond or maxConcurrent');
    }
  });

/** For backends that do not state whether they are validated: the operator does. */
export const fipsCertificate = z
  .int()
  .min(1, 'must be at least 1')
  .max(99_999, 'must be at most 99999')
  .optional()
  .describe(
    'Number of the CMVP certificate (FIPS 140) of the module that holds the key; shown as evidence. For `fips: true`.',
  );

/** What every kind of key has in the configuration. */
export const commonSettings = {
  name: keyName.describe('The name that requests and policy use for the key.'),
  requireProtection: z
    .enum(protectionLevels)
    .optional()
    .describe('The key is not used unless its backend states at least this protection level.'),
  rsaPadding: z
    .enum(['pkcs1v15', 'pss'])
    .optional()
    .describe('Padding of RSA signatures. Default pkcs1v15, the only one that cosign verifies with a public key.'),
  rsaHash: z
    .enum(['sha256', 'sha384', 'sha512'])
    .optional()
    .describe('Hash of RSA signatures. Default sha256; for others cosign needs --signature-digest-algorithm.'),
  refreshSeconds: z
    .int()
    .min(0, 'must be at least 0')
    .max(86_400, 'must be at most 86400')
    .optional()
    .describe(
      'How often the backend is asked again for versions and state of a key in use; 0: never. Default 60, for keys in files 0.',
    ),
  warmUp: z
    .boolean()
    .optional()
    .describe('Open the key at the start, in the background. Default: true with at most 100 keys, else false.'),
  limits: limits
    .optional()
    .describe(
      "Bounds on the use of the key by one process of the service: each of N replicas needs an Nth of the backend's quota. " +
        'Callers take turns.',
    ),
};

import { z } from 'zod';

const loopback = new Set(['localhost', '127.0.0.1', '[::1]']);

const line = z
  .string()
  .min(1, 'must not be empty')
  .max(4096, 'must have at most 4096 characters')
  .refine((text) => !/\p{Cc}/u.test(text), 'must not hold control characters');

const address = line
  .refine((text) => {
    const url = URL.parse(text);
    return (
      url !== null &&
      /^rediss?:$/.test(url.protocol) &&
      url.hostname !== '' &&
      `${url.username}${url.password}${url.search}${url.hash}` === ''
    );
  }, 'must be an address such as rediss://valkey.example.com:6379, without user, query or fragment')
  .refine((text) => {
    const url = URL.parse(text);
    return url === null || !/^rediss?:$/.test(url.protocol) || /^(?:\/\d{0,4})?$/.test(url.pathname);
  }, 'must have no path but the number of a database, such as /1')
  .describe('Address of the store: rediss (TLS); redis (plain text) only for loopback, or with plainText.');

/** Leases in a store that all replicas share. */
export const leaseSettings = z
  .strictObject({
    kind: z.literal('valkey').describe('Valkey, or a server that speaks as it does.'),
    url: address,
    plainText: z
      .boolean()
      .default(false)
      .describe('Allow redis:// to a host that is not loopback: the password travels unprotected.'),
    caFile: line.optional().describe('PEM certificates that are trusted besides the system roots.'),
    username: line.optional().describe('Default: the user `default` of the store.'),
    password: line.optional().describe('Take it from the environment.'),
    passwordFile: line.optional().describe('Read at every connection.'),
    keyPrefix: z
      .string()
      .max(100)
      .regex(/^[\w:./-]*$/, 'must hold letters, digits and _ : . / - only')
      .default('countersign:lease:')
      .describe('What the names of its keys begin with; the same in all replicas.'),
    durationMs: z
      .int()
      .min(1_000)
      .max(300_000)
      .default(15_000)
      .describe(
        'How long a lease lasts whose holder has died, in milliseconds; while it works it is prolonged. At least three times ' +
          'registry.settleMs. For so long after a connection to the store was made, writes to tags settle as without leases.',
      ),
    waitMs: z
      .int()
      .min(100)
      .max(600_000)
      .default(20_000)
      .describe(
        'How long a lease is waited for while others have it, in milliseconds; no longer than the request lives.',
      ),
  })
  .superRefine((settings, context) => {
    const refuse = (path: string, message: string): void => {
      context.addIssue({ code: 'custom', path: [path], message });
    };
    const url = URL.parse(settings.url);
    if (url?.protocol === 'redis:') {
      if (!settings.plainText && !loopback.has(url.hostname)) {
        refuse('url', 'must be rediss; plain text to another host needs "plainText: true"');
      }
      if (settings.caFile !== undefined) refuse('caFile', 'has no meaning without rediss');
    }
    if (settings.password !== undefined && settings.passwordFile !== undefined) {
      refuse('passwordFile', 'password and passwordFile cannot both be set');
    }
    if (settings.username !== undefined && settings.password === undefined && settings.passwordFile === undefined) {
      refuse('username', 'needs password or passwordFile');
    }
  });

export type LeaseSettings = z.infer<typeof leaseSettings>;

/** What is wrong with a lease beside the settling time, if anything: who has lost a lease settles. */
export const leaseProblem = (
  { durationMs }: LeaseSettings,
  settleMs: number,
): { readonly path: readonly string[]; readonly message: string } | undefined => {
  if (settleMs === 0) {
    return { path: ['settleMs'], message: 'must not be 0 with a lease: who has lost it waits so long' };
  }
  return durationMs < 3 * settleMs
    ? { path: ['lease', 'durationMs'], message: `must be at least three times settleMs (${3 * settleMs})` }
    : undefined;
};

import { z } from 'zod';
import { keyName } from './common-settings.ts';

const member = z.strictObject({
  key: keyName.describe('Name of another key of this configuration, which is no group itself.'),
  weight: z
    .int()
    .min(1, 'must be at least 1')
    .max(1000, 'must be at most 1000')
    .optional()
    .describe('Share of the signatures; with a weight for one member, all need one.'),
});

/** Several keys that stand for one: what one cannot sign, another does. */
export const groupSettings = z
  .strictObject({
    name: keyName.describe('The name that requests and policy use for the key.'),
    kind: z.literal('group'),
    members: z
      .array(member)
      .min(2, 'must have at least 2 members')
      .max(16, 'must have at most 16 members')
      .describe('In order of preference, unless weights say otherwise.'),
    differentPublicKeys: z
      .boolean()
      .default(false)
      .describe(
        'Members are other keys, not copies of one: verifiers must trust each of them. Without it a member whose public key ' +
          'differs from the first does not sign.',
      ),
  })
  .superRefine(({ members }, context) => {
    const refuse = (index: number, field: string, message: string): void =>
      context.addIssue({ code: 'custom', path: ['members', index, field], message });
    const weighted = members.some(({ weight }) => weight !== undefined);
    const seen = new Set<string>();
    for (const [index, { key, weight }] of members.entries()) {
      if (seen.has(key)) refuse(index, 'key', `${key} is a member already`);
      seen.add(key);
      if (weighted && weight === undefined) refuse(index, 'weight', 'must be set, as it is for another member');
    }
  });

export type GroupSettings = z.infer<typeof groupSettings>;

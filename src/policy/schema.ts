import { z } from 'zod';
import type { Verb } from '../model/decision.ts';
import type { FormatName } from '../model/signature.ts';

export const verbs = ['sign', 'attest', 'verify', 'read-key'] as const satisfies readonly Verb[];
export const formatNames = ['simple-signing', 'dsse', 'bundle'] as const satisfies readonly FormatName[];

/** A list of 1 to 1,000; a single text stands for a list of one. */
const listOf = <Item extends z.ZodType>(item: Item) =>
  z.preprocess(
    (value) => (typeof value === 'string' ? [value] : value),
    z.array(item).min(1, 'is an empty list').max(1000),
  );

/** What a claim must match: one pattern, any of several, or, for a claim that is an object, the same for its members. */
export type ClaimPatterns = string | readonly string[] | { readonly [name: string]: ClaimPatterns };
const claimPatterns: z.ZodType<ClaimPatterns> = z.lazy(() =>
  z.union([z.string(), z.array(z.string()).min(1, 'is an empty list'), z.record(z.string(), claimPatterns)], {
    error: 'must be a pattern, a list of patterns, or the same for nested claims',
  }),
);

export const callerFields = {
  issuer: z.string().min(1, 'is empty').describe('The exact `iss` of the caller.'),
  claims: z.record(z.string(), claimPatterns).default({}).describe('All of these claims must match.'),
};

/** The fields of a rule. All that are there must hold. */
export const ruleFields = {
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"')
    .describe('Unique in the policy; appears in answers, audit records and metrics.'),
  description: z.string().max(1000).optional(),
  effect: z.enum(['allow', 'deny']).default('allow').describe('A deny rule that matches wins over every allow rule.'),
  caller: z.strictObject(callerFields),
  verbs: listOf(z.enum(verbs)).describe('What it is about.'),
  keys: listOf(z.string().min(1)).optional().describe('Names of configured keys.'),
  repositories: listOf(z.string())
    .optional()
    .describe('Patterns over `host/path`: of the image, and of where signatures are stored.'),
  subjects: listOf(z.string()).optional().describe('Patterns over the names of blobs.'),
  blobsByDigest: z
    .enum(['true'])
    .optional()
    .describe(
      'Also sign and attest blobs of which only the digest is sent. Nobody sees what that is the digest of: whoever may do this can have anything signed with these keys, images and attestations too.',
    ),
  predicateTypes: listOf(z.string().min(1))
    .optional()
    .describe('Predicate type URIs, their short names, or patterns over URIs.'),
  formats: listOf(z.enum(formatNames)).optional(),
  when: z.string().min(1).optional().describe('A CEL expression over `claims` and `request`.'),
} as const;

const ruleSchema = z.strictObject(ruleFields);
export type Rule = z.output<typeof ruleSchema>;

/** What to write where a field is missing or wrong. */
export const fixes: Readonly<Record<string, string>> = {
  rules: 'write a list of rules under "rules:"',
  name: 'give the rule a unique name such as "release-signing"',
  effect: 'write allow or deny, or leave it out for allow',
  caller: 'add caller: {issuer: <the exact iss>, claims: {repository_id: "<number>"}}',
  issuer: 'write the exact "iss" of the tokens that this rule is for',
  claims: 'write claims as name: pattern or name: [pattern, pattern]',
  verbs: `list one or more of ${verbs.join(', ')}`,
  keys: 'list the names of configured keys',
  repositories: 'list repositories as host/path; * stands within a path segment, ** for anything',
  subjects: 'list names of blobs; * stands within a path segment, ** for anything',
  blobsByDigest: 'write true, or leave it out',
  predicateTypes: 'list predicate type URIs or short names',
  formats: `list one or more of ${formatNames.join(', ')}`,
  when: 'write a CEL expression over claims and request',
};

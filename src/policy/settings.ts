import { z } from 'zod';

/** Where the rules are: the `policy` part of the configuration. */
export const policySettings = z.strictObject({
  files: z
    .array(z.string().min(1))
    .min(1)
    .max(100)
    .describe('YAML policy files; together they are one policy. Without a matching rule nothing is allowed.'),
});

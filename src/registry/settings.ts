import { z } from 'zod';

const host = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?$/, 'must be a lower-case host or host:port');

const credential = z.union([
  z.strictObject({ username: z.string().min(1), password: z.string().min(1) }),
  z.strictObject({ identityToken: z.string().min(1) }),
]);

/** The `registry` section of the configuration. */
export const registrySettings = z.strictObject({
  plainHttpHosts: z
    .array(host)
    .default([])
    .describe('Registries spoken to over plain http: `host` (any port) or `host:port`. Every other one is https only.'),
  dockerConfig: z.string().min(1).optional().describe('A docker config.json whose "auths" hold credentials.'),
  credentials: z
    .record(host, credential)
    .default({})
    .describe('Credentials by registry host; they win over those of dockerConfig.'),
  tries: z.int().min(1).max(10).default(3).describe('Attempts of a request that failed in a way that may pass.'),
});

export type RegistrySettings = z.infer<typeof registrySettings>;

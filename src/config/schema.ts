import { z } from 'zod';
import { auditSettings } from '../audit/sinks.ts';
import { callerSettings } from '../callers/settings.ts';
import { keysSettings } from '../keys/settings.ts';
import { policySettings } from '../policy/settings.ts';
import { registrySettings } from '../registry/settings.ts';
import { telemetrySettings } from '../telemetry/settings.ts';
import { listenerSettings } from './listener-settings.ts';

/** The longest that a shutdown may wait: orchestrators kill after 30 s, and closing takes some of it. */
const maxDrainMs = 25_000;

const limitSettings = z.strictObject({
  maxInFlight: z.int().min(1).max(100_000).default(256).describe('Requests worked on at once.'),
  maxQueued: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(1024)
    .describe('Requests that wait for their turn; one more is refused with RESOURCE_EXHAUSTED.'),
  maxRequestMs: z
    .int()
    .min(100)
    .max(600_000)
    .default(30_000)
    .describe('The longest a request may take, in milliseconds, whatever deadline the caller sends.'),
  drainMs: z
    .int()
    .min(0)
    .max(maxDrainMs)
    .default(maxDrainMs)
    .describe('How long a shutdown waits for requests under way, in milliseconds.'),
});

const signingSettings = z.strictObject({
  record: z
    .enum(['full', 'none'])
    .default('full')
    .describe(
      'full: signatures say who asked, which rule allowed it and when (dev.countersign/...); none: they do not.',
    ),
});

const outboundSettings = z.strictObject({
  caFiles: z
    .array(z.string().min(1))
    .max(100)
    .default([])
    .describe('CA certificates, PEM, that registries and issuers may be certified by, besides the system roots.'),
  allowPrivate: z
    .array(z.string().min(1))
    .default([])
    .describe('Host names that may be reached although their address is link-local or the like.'),
});

/** The whole configuration: one section from each folder that has settings. Unknown settings are errors. */
export const configSchema = z.strictObject({
  listeners: listenerSettings.describe('Where the service listens.'),
  callers: callerSettings.describe('Who may call.'),
  policy: policySettings.describe('Who may do what with which key.'),
  keys: keysSettings.describe('The keys that sign.'),
  registry: registrySettings.prefault({}).describe('How registries are reached.'),
  audit: auditSettings.describe('Where records of every use of a key go.'),
  telemetry: telemetrySettings.prefault({}).describe('Log, metrics and traces.'),
  signing: signingSettings.prefault({}).describe('What signatures carry.'),
  limits: limitSettings.prefault({}).describe('Bounds on load and time.'),
  outbound: outboundSettings.prefault({}).describe('Connections that the service makes.'),
});

/** A checked configuration with every default filled in; file paths are absolute. */
export type Config = z.output<typeof configSchema>;

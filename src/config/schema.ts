import { z } from 'zod';
import { auditSettings } from '../audit/sinks.ts';
import { callerSettings } from '../callers/settings.ts';
import { keysSettings } from '../keys/configured.ts';
import { fipsFaults } from '../keys/fips.ts';
import { privateEntryProblem } from '../net/address.ts';
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
  maxBatchMs: z
    .int()
    .min(100)
    .max(3_600_000)
    .default(300_000)
    .describe('The longest a batch may take, in milliseconds; each of its items may take maxRequestMs of that.'),
  maxBatches: z
    .int()
    .min(1)
    .max(10_000)
    .default(32)
    .describe(
      'Batches worked on at once; as many more wait. Each works on one item at a time in its own place, and on up to 32 in places ' +
        'of maxInFlight that no request wants.',
    ),
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

const privateEntry = z.string().superRefine((entry, context) => {
  const message = privateEntryProblem(entry);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

const outboundSettings = z.strictObject({
  caFiles: z
    .array(z.string().min(1))
    .max(100)
    .default([])
    .describe('CA certificates, PEM, that registries and issuers may be certified by, besides the system roots.'),
  allowPrivate: z
    .array(privateEntry)
    .max(1_000)
    .default([])
    .describe(
      'Hosts (`host`, `host:port`), addresses and networks (`10.0.0.0/8`) that may be reached although they are private, loopback, ' +
        'link-local, behind a NAT64 or the like. Not needed for what the configuration names itself: keys, issuers, ' +
        'registry.lease, registry.plainHttpHosts, registry.allow, registries with credentials, hosts that rules of the policy spell out.',
    ),
});

/** The whole configuration: one section from each folder that has settings. Unknown settings are errors. */
export const configSchema = z
  .strictObject({
    fips: z
      .boolean()
      .default(false)
      .describe(
        'Only keys in validated modules (FIPS 140), with approved algorithms and sizes, through FIPS endpoints; anything else is ' +
          'refused at start.',
      ),
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
  })
  .superRefine(({ fips, keys }, context) => {
    if (!fips) return;
    for (const { path, message } of fipsFaults(keys)) context.addIssue({ code: 'custom', path: [...path], message });
  });

/** A checked configuration with every default filled in; file paths are absolute. */
export type Config = z.output<typeof configSchema>;

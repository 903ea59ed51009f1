import { z } from 'zod';
import { CountersignError } from '../model/error.ts';
import { allowEntryProblem } from './allow-list.ts';
import { ambientProblem, credentialSettings, variableName } from './credentials/settings.ts';
import { leaseProblem, leaseSettings } from './leases/settings.ts';
import { parseRepository } from './reference.ts';

const host = z
  .string()
  .regex(/^(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:\d{1,5})?$/, 'must be a lower-case host or host:port');

const allowEntry = z.string().superRefine((entry, context) => {
  const message = allowEntryProblem(entry);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
});

const repository = z.string().superRefine((text, context) => {
  try {
    parseRepository(text);
  } catch (error) {
    if (!(error instanceof CountersignError)) throw error;
    context.addIssue({ code: 'custom', message: error.violations[0]?.description ?? error.message });
  }
});

/** How signatures of some images are kept. */
const destinationSettings = z.strictObject({
  repositories: z
    .array(allowEntry)
    .min(1)
    .max(1_000)
    .describe('The repositories of the images, entries as those of `allow`.'),
  signatureRepository: repository
    .optional()
    .describe('Where their signatures lie, `host/path`, as COSIGN_REPOSITORY says it. Without it: beside the image.'),
  layouts: z
    .array(z.enum(['referrer', 'tag']))
    .min(1)
    .max(2)
    .refine((layouts) => new Set(layouts).size === layouts.length, 'must not name a layout twice')
    .default(['referrer'])
    .describe(
      'What a request that names no formats gets: referrer: a bundle, attached as a referrer; tag: simple signing at `.sig` (Sign) ' +
        'or DSSE at `.att` (Attest). Both: each signature is written twice, and both are reported.',
    ),
  otherLayout: z
    .enum(['written', 'ignored'])
    .default('written')
    .describe(
      'An image that carries signatures in a layout that the request does not ask for: written: the new one goes there as well, since ' +
        'cosign reads only one of them; ignored: it does not, which saves looking.',
    ),
  tagPrefix: z
    .string()
    .regex(
      /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,49}$/,
      'must begin with a letter, digit or _, then also . and -, at most 50 characters',
    )
    .optional()
    .describe('What the tags `sha256-<hex>.sig` and `.att` begin with, as --attachment-tag-prefix of cosign says it.'),
  dockerMediaTypes: z
    .boolean()
    .default(false)
    .describe('New `.sig` and `.att` images have the media types of Docker, as with COSIGN_DOCKER_MEDIA_TYPES=1.'),
  fallbackTag: z
    .enum(['auto', 'always', 'never'])
    .default('auto')
    .describe(
      'The tag `sha256-<hex>` that lists referrers for readers without the referrers API. auto: where the registry does not ' +
        'list them itself; always: there as well; never: such a registry is refused.',
    ),
});

/** The `registry` section, each field by itself. */
const sections = z.strictObject({
  plainHttpHosts: z
    .array(host)
    .default([])
    .describe('Registries spoken to over plain http: `host` (any port) or `host:port`. Every other one is https only.'),
  allow: z
    .array(allowEntry)
    .min(1)
    .max(1_000)
    .optional()
    .describe(
      'The only registries that are used: `host[:port]`, or `host[:port]/path`; * stands within the host or a path component, ' +
        '** at the end for the rest. Without it: any, as far as policy lets callers.',
    ),
  dockerConfig: z
    .string()
    .min(1)
    .optional()
    .describe('A docker config.json: its auths, credHelpers and credsStore. Read again when it changes.'),
  credentials: z
    .record(host, credentialSettings)
    .default({})
    .describe('Credentials by registry host; they win over those of dockerConfig.'),
  helperEnvironment: z
    .array(variableName)
    .max(100)
    .default([])
    .describe(
      'Variables that credential helpers get besides PATH, HOME and the like: names, or the beginning of names and *, as AWS_*.',
    ),
  destinations: z
    .array(destinationSettings)
    .max(1_000)
    .default([])
    .describe('How signatures are kept, by the repository of the image; the first entry that fits counts.'),
  settleMs: z
    .int()
    .min(0)
    .max(30_000)
    .default(1_000)
    .describe(
      'How long a write to a tag may take from its reading to its end, in milliseconds. Where the registry looks at no ' +
        'conditions, signatures at tags are answered after they were seen to lie there this long after their write. 0, only where ' +
        'nothing but one process writes signatures: at once.',
    ),
  lease: leaseSettings
    .optional()
    .describe(
      'A store of leases, by which replicas that write to one tag exclude each other, so that nothing has to settle. All that ' +
        'write signatures there must have the same. Without it: none.',
    ),
  tries: z.int().min(1).max(10).default(3).describe('Attempts of a request that failed in a way that may pass.'),
});

/** The `registry` section of the configuration. */
export const registrySettings = sections.superRefine(({ credentials, plainHttpHosts, lease, settleMs }, context) => {
  for (const [name, settings] of Object.entries(credentials)) {
    const message = ambientProblem(name, settings, plainHttpHosts);
    if (message !== undefined) context.addIssue({ code: 'custom', path: ['credentials', name, 'ambient'], message });
  }
  const problem = lease === undefined ? undefined : leaseProblem(lease, settleMs);
  if (problem !== undefined) context.addIssue({ code: 'custom', path: [...problem.path], message: problem.message });
});

export type RegistrySettings = z.infer<typeof registrySettings>;
export type DestinationSettings = z.infer<typeof destinationSettings>;

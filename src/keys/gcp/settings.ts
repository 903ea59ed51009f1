import { z } from 'zod';
import { commonSettings, line } from '../common-settings.ts';

// Resource names as Cloud KMS has them; a project by its id (an old one with its domain) or its number.
const project = '(?:[a-z0-9.-]{1,100}:)?[a-z0-9-]{1,63}';
const location = '[a-z0-9-]{1,63}';
const id = '[A-Za-z0-9_-]{1,63}';
const number = '[1-9][0-9]{0,9}';

/** The grammar of sigstore's `gcpkms://` references. */
const refPattern = new RegExp(
  `^gcpkms://projects/(${project})/locations/(${location})/keyRings/(${id})/cryptoKeys/(${id})` +
    `(?:/(?:cryptoKeyVersions|versions)/(${number}))?$`,
);

export const gcpLoopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

const endpoint = line.superRefine((text, context) => {
  const url = URL.parse(text);
  const plain = url?.protocol === 'http:';
  const origin = url?.pathname === '/' && `${url.username}${url.password}${url.search}${url.hash}` === '';
  if (url === null || !origin || !(plain || url.protocol === 'https:')) {
    context.addIssue({
      code: 'custom',
      message: 'must be an address such as https://cloudkms.example.com, without user, path, query or fragment',
    });
  } else if (plain && !gcpLoopbackHosts.includes(url.hostname)) {
    context.addIssue({ code: 'custom', message: 'must be https; http is for loopback only' });
  }
});

const named = (pattern: string, what: string) =>
  z
    .string()
    .regex(new RegExp(`^${pattern}$`), what)
    .optional();

const versionForm = 'must be the number of a version, or latest';

const base = z.strictObject({
  ...commonSettings,
  kind: z.literal('gcp'),
  project: named(project, 'must be the id or number of a project, such as my-project').describe('Project of the key.'),
  location: named(location, 'must be a location such as europe-west3, or global').describe('Location of the key ring.'),
  keyRing: named(id, 'must be 1 to 63 letters, digits, dashes or underscores').describe('Key ring of the key.'),
  key: named(id, 'must be 1 to 63 letters, digits, dashes or underscores').describe('Name of the key in its key ring.'),
  version: z
    .union([z.literal('latest'), z.int(versionForm).positive(versionForm).max(2_147_483_647, versionForm)], {
      error: versionForm,
    })
    .optional()
    .describe('The version that signs. Default latest: the newest one that is enabled when the key is opened.'),
  ref: z
    .string()
    .regex(
      refPattern,
      'must be gcpkms://projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, and, to name a version, ' +
        '/cryptoKeyVersions/NUMBER or /versions/NUMBER after it',
    )
    .optional()
    .describe('The key as cosign users write it, instead of project, location, keyRing and key.'),
  endpoint: endpoint
    .optional()
    .describe('Address of Cloud KMS where it is not https://cloudkms.googleapis.com: https; http for loopback.'),
  caFile: line.optional().describe('PEM certificates that are trusted besides the usual roots; for Cloud KMS only.'),
  credentialsFile: line
    .optional()
    .describe(
      'Credentials in JSON: external_account (workload identity federation), service_account or ' +
        'impersonated_service_account. Default: the application default credentials.',
    ),
  impersonateServiceAccount: z
    .string()
    .regex(/^[a-z0-9-]{1,63}@[a-z0-9.:-]{1,200}$/, 'must be the e-mail address of a service account')
    .optional()
    .describe('Service account that is impersonated with these credentials.'),
});

type Settings = z.infer<typeof base>;

/** Where the key is, however it was written. */
export type GcpTarget = {
  /** `projects/P/locations/L/keyRings/R/cryptoKeys/K` */
  readonly keyName: string;
  /** The number of the version that signs; undefined for the newest one that is enabled. */
  readonly version: number | undefined;
};

export const gcpTarget = (settings: Settings): GcpTarget => {
  const [, ...fromRef] = refPattern.exec(settings.ref ?? '') ?? [];
  const [p = settings.project, l = settings.location, ring = settings.keyRing, key = settings.key, version] = fromRef;
  const pinned = version === undefined ? settings.version : Number(version);
  return {
    keyName: `projects/${p}/locations/${l}/keyRings/${ring}/cryptoKeys/${key}`,
    version: pinned === 'latest' ? undefined : pinned,
  };
};

const parts = ['project', 'location', 'keyRing', 'key'] as const;

/** A key in Google Cloud KMS. */
export const gcpSettings = base.superRefine((settings, context) => {
  const refuse = (field: keyof Settings, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  for (const part of parts) {
    if (settings.ref !== undefined && settings[part] !== undefined) refuse(part, 'must not be set: ref names the key');
    if (settings.ref === undefined && settings[part] === undefined)
      refuse(part, 'must be set (project, location, keyRing and key), or ref');
  }
  if (settings.version !== undefined && /\/(?:cryptoKeyVersions|versions)\/[0-9]+$/.test(settings.ref ?? '')) {
    refuse('version', 'must not be set: ref names a version');
  }
});

export type GcpSettings = z.infer<typeof gcpSettings>;

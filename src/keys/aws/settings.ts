import { z } from 'zod';
import { commonSettings, line } from '../common-settings.ts';

const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}';
const id = `(?:${uuid}|mrk-[0-9a-f]{32})`;
const alias = 'alias/[A-Za-z0-9/_-]{1,250}';
const arn = `arn:aws(?:-[a-z]{1,16}){0,3}:kms:[a-z0-9-]{1,32}:\\d{12}:(?:key/${id}|${alias})`;

const idPattern = new RegExp(`^${id}$`);
const aliasPattern = new RegExp(`^${alias}$`);
const arnPattern = new RegExp(`^${arn}$`);
/** The grammar of sigstore's `awskms://` references, with the key ids and aliases that AWS really has. */
const refPattern = new RegExp(`^awskms://([^/?#@\\s]{0,256})/(${id}|${arn}|${alias})$`);

export const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]'];

const isOrigin = (url: URL): boolean =>
  url.pathname === '/' && `${url.username}${url.password}${url.search}${url.hash}` === '';

const endpoint = line.superRefine((text, context) => {
  const url = URL.parse(text);
  const plain = url?.protocol === 'http:';
  if (url === null || !isOrigin(url) || !(plain || url.protocol === 'https:')) {
    context.addIssue({
      code: 'custom',
      message: 'must be an address such as https://kms.example.com, without user, path, query or fragment',
    });
  } else if (plain && !loopbackHosts.includes(url.hostname)) {
    context.addIssue({ code: 'custom', message: 'must be https; http is for loopback only' });
  }
});

const role = z.strictObject({
  arn: z
    .string()
    .regex(
      /^arn:aws(?:-[a-z]{1,16}){0,3}:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/,
      'must be the ARN of a role such as arn:aws:iam::111122223333:role/NAME',
    )
    .describe('ARN of the role.'),
  externalId: z
    .string()
    .regex(/^[\w+=,.@:/-]{2,1224}$/, 'must be 2 to 1224 letters, digits and _+=,.@:/-')
    .optional()
    .describe('What the trust policy of the role asks for as sts:ExternalId.'),
  sessionName: z
    .string()
    .regex(/^[\w+=,.@-]{2,64}$/, 'must be 2 to 64 letters, digits and _+=,.@-')
    .optional()
    .describe('Name of the session, seen in CloudTrail. Default: countersign.'),
  durationSeconds: z
    .int()
    .min(900, 'must be at least 900')
    .max(43_200, 'must be at most 43200')
    .optional()
    .describe("How long its credentials last before new ones are taken; at most the role's maximum. Default: 3600."),
});

/** A role that is taken to use the key. */
export type AwsRole = z.infer<typeof role>;

const base = z.strictObject({
  ...commonSettings,
  kind: z.literal('aws'),
  keyId: z
    .string()
    .regex(idPattern, 'must be a key id such as 1234abcd-12ab-34cd-56ef-1234567890ab, or mrk- and 32 hex digits')
    .optional()
    .describe('Id of the key, in the region and account of the service.'),
  arn: z
    .string()
    .regex(
      arnPattern,
      'must be an ARN such as arn:aws:kms:REGION:ACCOUNT:key/ID or arn:aws:kms:REGION:ACCOUNT:alias/NAME',
    )
    .optional()
    .describe('ARN of the key or of an alias; needed for a key of another account.'),
  alias: z
    .string()
    .regex(aliasPattern, 'must be alias/NAME')
    .optional()
    .describe('An alias; the key that it points to when it is opened is the one that signs.'),
  ref: z
    .string()
    .regex(refPattern, 'must be awskms://[ENDPOINT]/ID, awskms://[ENDPOINT]/ARN or awskms://[ENDPOINT]/alias/NAME')
    .optional()
    .describe('The key as cosign users write it, instead of keyId, arn or alias.'),
  region: z
    .string()
    .regex(/^[a-z0-9-]{1,32}$/, 'must be the name of a region such as eu-central-1')
    .optional()
    .describe('Default: the region of the ARN, or that of the AWS environment (AWS_REGION, profile).'),
  endpoint: endpoint
    .optional()
    .describe('Address of KMS where it is not that of the region: https; http for loopback.'),
  caFile: line.optional().describe('PEM certificates that are trusted besides the usual roots; for KMS only.'),
  fips: z.boolean().optional().describe('Use the FIPS endpoint of the region. Default: as the AWS environment says.'),
  dualStack: z
    .boolean()
    .optional()
    .describe('Use the endpoint for IPv4 and IPv6. Default: as the AWS environment says.'),
  profile: line
    .optional()
    .describe('Profile of the AWS shared configuration that gives the credentials. Default: those of the environment.'),
  role: role.optional().describe('A role to use the key as, taken with the credentials of the profile or environment.'),
});

type Settings = z.infer<typeof base>;

/** Where the key is, however it was written. */
export type AwsTarget = {
  /** Key id, `alias/NAME` or ARN: what KMS takes as KeyId. */
  readonly keyId: string;
  readonly region: string | undefined;
  /** Scheme, host and port; undefined for that of the region. */
  readonly endpoint: string | undefined;
};

export const awsTarget = (settings: Settings): AwsTarget => {
  const [, host, refKey] = refPattern.exec(settings.ref ?? '') ?? [];
  const keyId = settings.keyId ?? settings.arn ?? settings.alias ?? refKey ?? '';
  return {
    keyId,
    region: settings.region ?? (keyId.startsWith('arn:') ? keyId.split(':')[3] : undefined),
    endpoint: settings.endpoint ?? (host === undefined || host === '' ? undefined : `https://${host}`),
  };
};

/** A key in AWS KMS. */
export const awsSettings = base.superRefine((settings, context) => {
  const refuse = (field: keyof Settings, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  const written = [settings.keyId, settings.arn, settings.alias, settings.ref].filter((each) => each !== undefined);
  if (written.length !== 1) refuse('keyId', 'exactly one of keyId, arn, alias and ref must be set');
  const target = awsTarget(settings);
  const host = refPattern.exec(settings.ref ?? '')?.[1] ?? '';
  const url = URL.parse(`https://${host}`);
  if (host !== '' && (url === null || !isOrigin(url))) {
    refuse('ref', 'the ENDPOINT of awskms://ENDPOINT/... must be HOST or HOST:PORT');
  }
  if (host !== '' && settings.endpoint !== undefined) refuse('endpoint', 'must not be set: ref names an endpoint');
  if (target.endpoint !== undefined) {
    for (const field of ['fips', 'dualStack'] as const) {
      if (settings[field] === true) refuse(field, 'has no meaning with an endpoint: name the FIPS or dual-stack one');
    }
  }
  const partition = target.keyId.startsWith('arn:') ? target.keyId.split(':')[1] : undefined;
  const rolePartition = settings.role?.arn.split(':')[1];
  if (partition !== undefined && rolePartition !== undefined && partition !== rolePartition) {
    context.addIssue({
      code: 'custom',
      path: ['role', 'arn'],
      message: `the key is in partition ${partition}, and no role of ${rolePartition} reaches it`,
    });
  }
  const arnRegion = target.keyId.startsWith('arn:') ? target.keyId.split(':')[3] : undefined;
  if (arnRegion !== undefined && target.region !== arnRegion) {
    refuse('region', `the key is in ${arnRegion}: leave region out, or name the replica of the key in its region`);
  }
});

export type AwsSettings = z.infer<typeof awsSettings>;

import { z } from 'zod';
import { speaksPlainHttp } from '../../net/egress.ts';

/** What each cloud's registries are called; anything else would get the service's own identity. */
export const ambientHosts = {
  ecr: {
    pattern:
      /^(?:\d{12}\.dkr(?:\.ecr|-ecr)(?:-fips)?\.[a-z0-9-]{1,32}\.(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws)|public\.ecr\.aws)$/,
    form: 'ACCOUNT.dkr.ecr.REGION.amazonaws.com or public.ecr.aws',
  },
  'artifact-registry': {
    pattern: /^(?:[a-z0-9-]{1,40}-docker\.pkg\.dev|(?:(?:us|eu|asia)\.)?gcr\.io)$/,
    form: 'LOCATION-docker.pkg.dev or gcr.io',
  },
  acr: { pattern: /^[a-z0-9]{5,50}(?:-[a-z0-9]{1,40})?\.azurecr\.(?:io|cn|us)$/, form: 'NAME.azurecr.io' },
  ghcr: {
    pattern: /^(?:ghcr\.io|containers\.[a-z0-9-]{1,63}\.ghe\.com)$/,
    form: 'ghcr.io or containers.NAME.ghe.com',
  },
} as const;

export type AmbientKind = keyof typeof ambientHosts;
const ambientKinds = Object.keys(ambientHosts) as [AmbientKind, ...AmbientKind[]];

/** docker-credential-<name>: nothing that a shell or a path could be made of. */
export const helperName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const text = z
  .string()
  .min(1)
  .max(64 * 1024);

const fields = z.strictObject({
  username: z
    .string()
    .min(1)
    .max(1_024)
    .regex(/^[^:\p{Cc}]*$/u, 'must have no colon')
    .optional(),
  password: text.optional().describe('Take it from the environment.'),
  passwordFile: z.string().min(1).optional().describe('Read again when it changes.'),
  identityToken: text.optional().describe('An OAuth2 refresh token, exchanged at the token service of the registry.'),
  identityTokenFile: z.string().min(1).optional().describe('Read again when it changes.'),
  helper: z
    .string()
    .regex(helperName, 'must be NAME of a program docker-credential-NAME in the PATH')
    .optional()
    .describe('A credential helper: docker-credential-NAME.'),
  ambient: z
    .enum(ambientKinds)
    .optional()
    .describe(
      'Who the service is where it runs. ecr: the AWS environment; artifact-registry: the application default credentials of Google; ' +
        'acr: workload or managed identity of Azure; ghcr: GITHUB_TOKEN, or the file that GITHUB_TOKEN_FILE names.',
    ),
  clientId: z
    .string()
    .regex(/^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/, 'must be an id with four dashes')
    .optional()
    .describe('With ambient: acr. Of the user-assigned identity.'),
  tokenFile: z
    .string()
    .min(1)
    .optional()
    .describe('With ambient: ghcr. Instead of GITHUB_TOKEN; read again when it changes.'),
});

type Fields = z.infer<typeof fields>;
type Field = keyof Fields;

/** The forms that an entry may have: what must be there, one of each, and what may. */
const forms: readonly { readonly has: readonly (readonly Field[])[]; readonly may?: readonly Field[] }[] = [
  { has: [['username'], ['password', 'passwordFile']] },
  { has: [['identityToken', 'identityTokenFile']] },
  { has: [['helper']] },
  { has: [['ambient']], may: ['clientId', 'tokenFile'] },
];

const rightForms =
  'must be { username, password or passwordFile }, { identityToken or identityTokenFile }, { helper } or { ambient }';

const fitsForm = (settings: Fields): boolean => {
  const written = (Object.keys(settings) as Field[]).filter((field) => settings[field] !== undefined);
  return forms.some(
    ({ has, may = [] }) =>
      has.every((either) => either.filter((field) => written.includes(field)).length === 1) &&
      written.every((field) => may.includes(field) || has.some((either) => either.includes(field))),
  );
};

/** What proves to one registry who the service is. */
export const credentialSettings = fields.superRefine((settings, context) => {
  const refuse = (message: string, path: Field[] = []): void => context.addIssue({ code: 'custom', message, path });
  if (!fitsForm(settings)) return refuse(rightForms);
  if (settings.clientId !== undefined && settings.ambient !== 'acr') refuse('is for ambient: acr only', ['clientId']);
  if (settings.tokenFile !== undefined && settings.ambient !== 'ghcr')
    refuse('is for ambient: ghcr only', ['tokenFile']);
  return undefined;
});

export type CredentialSettings = z.infer<typeof credentialSettings>;

/** Why the identity of the service cannot be shown to this host; undefined when it can. */
export const ambientProblem = (
  host: string,
  { ambient }: CredentialSettings,
  plainHttpHosts: readonly string[],
): string | undefined => {
  if (ambient === undefined) return undefined;
  const { pattern, form } = ambientHosts[ambient];
  if (!pattern.test(host)) return `${ambient} is for registries called ${form}; for others give username and password`;
  if (speaksPlainHttp(host, plainHttpHosts)) return 'the identity of the service is not sent over plain http';
  return undefined;
};

/** The name of a variable, or the beginning of names and *. */
export const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}\*?$/, 'must be the name of a variable, or the beginning of names and *');

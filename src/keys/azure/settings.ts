import { z } from 'zod';
import { commonSettings, line, secret } from '../common-settings.ts';

/** Clouds that Azure runs: the end of its host names, and who issues tokens there (undefined: what the environment says). */
const clouds: Readonly<Record<string, string | undefined>> = {
  'azure.net': undefined,
  'azure.cn': 'https://login.chinacloudapi.cn',
  'usgovcloudapi.net': 'https://login.microsoftonline.us',
};

const hostPattern = /^[a-z0-9][a-z0-9-]{1,125}\.(vault|managedhsm)\.(azure\.net|azure\.cn|usgovcloudapi\.net)$/;
const keyName = '[0-9A-Za-z-]{1,127}';
const versionId = '[0-9a-f]{32}';
/** The grammar of sigstore's `azurekms://` references, with the names and versions that Azure really has. */
const refPattern = new RegExp(`^azurekms://([^/?#@\\s]{1,256})/(${keyName})(?:/(${versionId})?)?$`);

const rightForm = 'azurekms://NAME.vault.azure.net/KEY or azurekms://NAME.vault.azure.net/KEY/VERSION';

const isOrigin = (text: string): boolean => {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'https:' || url.pathname !== '/') return false;
  return `${url.username}${url.password}${url.search}${url.hash}` === '';
};

const origin = (example: string) =>
  line.refine(isOrigin, `must be an address such as ${example}, without user, path, query or fragment`);

const guid = z
  .string()
  .regex(
    /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/,
    'must be an id such as 00000000-0000-0000-0000-000000000000',
  );
const tenant = z
  .string()
  .regex(/^[0-9A-Za-z][0-9A-Za-z.-]{0,253}$/, 'must be the id of a tenant or one of its domain names');

const workloadIdentity = z.strictObject({
  method: z.literal('workload-identity'),
  tenantId: tenant.optional().describe('Default: AZURE_TENANT_ID, which the webhook of AKS sets.'),
  clientId: guid.optional().describe('Default: AZURE_CLIENT_ID.'),
  tokenFile: line.optional().describe('Default: AZURE_FEDERATED_TOKEN_FILE. Read again before it expires.'),
});

const managedIdentity = z.strictObject({
  method: z.literal('managed-identity'),
  clientId: guid.optional().describe('Of a user-assigned identity. Default: the one that the machine has.'),
});

const clientSecret = z
  .strictObject({
    method: z.literal('client-secret'),
    tenantId: tenant,
    clientId: guid,
    secret: secret.min(1, 'must not be empty').optional().describe('Take it from the environment.'),
    secretFile: line.optional().describe('Read again when the secret is refused.'),
  })
  .refine((credential) => (credential.secret === undefined) !== (credential.secretFile === undefined), {
    path: ['secretFile'],
    message: 'exactly one of secret and secretFile must be set',
  });

const clientCertificate = z.strictObject({
  method: z.literal('client-certificate'),
  tenantId: tenant,
  clientId: guid,
  certificateFile: line.describe('PEM: the certificate and its private key, unencrypted.'),
});

const base = z.strictObject({
  ...commonSettings,
  kind: z.literal('azure'),
  vaultUrl: origin('https://NAME.vault.azure.net or https://NAME.managedhsm.azure.net')
    .optional()
    .describe('Address of the Key Vault or Managed HSM, also of Azure China and Azure Government.'),
  key: z
    .string()
    .regex(new RegExp(`^${keyName}$`), 'must be the name of a key: letters, digits and dashes')
    .optional()
    .describe('Name of the key in the vault.'),
  version: z
    .string()
    .regex(new RegExp(`^${versionId}$`), 'must be the id of a version: 32 lower-case hex digits')
    .optional()
    .describe('Sign with this version. Default: the newest usable one when the key is opened.'),
  ref: z
    .string()
    .regex(refPattern, `must be ${rightForm}`)
    .optional()
    .describe('The key as cosign users write it, instead of vaultUrl, key and version.'),
  disableChallengeResourceVerification: z
    .boolean()
    .default(false)
    .describe('Allow a host that is not of Azure, and send it tokens for whatever resource it asks for.'),
  caFile: line
    .optional()
    .describe('PEM certificates that are trusted besides the usual roots, for the vault and the authority.'),
  authorityHost: origin('https://login.microsoftonline.com')
    .optional()
    .describe("Who issues tokens. Default: that of the vault's cloud, or AZURE_AUTHORITY_HOST."),
  credential: z.discriminatedUnion('method', [workloadIdentity, managedIdentity, clientSecret, clientCertificate]),
});

type Settings = z.infer<typeof base>;

/** Where the key is, however it was written. */
export type AzureTarget = {
  /** Scheme, host and port. */
  readonly vaultUrl: string;
  readonly key: string;
  readonly version: string | undefined;
  readonly managedHsm: boolean;
  /** Scheme, host and port; undefined for what the environment says. */
  readonly authorityHost: string | undefined;
};

export const azureTarget = (settings: Settings): AzureTarget => {
  const [, refHost, refKey, refVersion] = refPattern.exec(settings.ref ?? '') ?? [];
  const vaultUrl = URL.parse(settings.vaultUrl ?? `https://${refHost ?? ''}`)?.origin ?? '';
  const [, service, cloud] = hostPattern.exec(vaultUrl.replace('https://', '')) ?? [];
  return {
    vaultUrl,
    key: settings.key ?? refKey ?? '',
    version: settings.version ?? refVersion,
    managedHsm: service === 'managedhsm',
    authorityHost:
      settings.authorityHost === undefined ? clouds[cloud ?? ''] : URL.parse(settings.authorityHost)?.origin,
  };
};

/** A key in Azure Key Vault or Managed HSM. */
export const azureSettings = base.superRefine((settings, context) => {
  const refuse = (field: keyof Settings, message: string): void =>
    context.addIssue({ code: 'custom', path: [field], message });
  const { ref } = settings;
  if (ref === undefined) {
    if (settings.vaultUrl === undefined) refuse('vaultUrl', 'vaultUrl and key must be set, or ref');
    if (settings.key === undefined) refuse('key', 'vaultUrl and key must be set, or ref');
  } else {
    for (const field of ['vaultUrl', 'key', 'version'] as const) {
      if (settings[field] !== undefined) refuse(field, 'must not be set: ref says it');
    }
  }
  const field = ref === undefined ? 'vaultUrl' : 'ref';
  const refHost = refPattern.exec(ref ?? '')?.[1];
  if (refHost !== undefined && !isOrigin(`https://${refHost}`)) refuse('ref', `must be ${rightForm}`);
  if (settings[field] === undefined || settings.disableChallengeResourceVerification) return;
  const host = azureTarget(settings).vaultUrl.replace('https://', '');
  if (host !== '' && !hostPattern.test(host)) {
    refuse(
      field,
      `${host} is not a host of Azure: must be NAME.vault.azure.net, NAME.managedhsm.azure.net, or the same under azure.cn ` +
        'or usgovcloudapi.net; another one needs "disableChallengeResourceVerification: true"',
    );
  }
});

export type AzureSettings = z.infer<typeof azureSettings>;
export type AzureCredentialSettings = AzureSettings['credential'];

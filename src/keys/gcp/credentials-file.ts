import { createPrivateKey } from 'node:crypto';
import { z } from 'zod';
import { CountersignError } from '../../model/error.ts';
import { line } from '../common-settings.ts';
import { gcpLoopbackHosts } from './settings.ts';
import { readTextFile } from '../read-file.ts';

// A file of credentials says where tokens are taken from and sent to, so all of that is checked before it is used:
// https://docs.cloud.google.com/docs/authentication/client-libraries#external-credentials

const maxFileBytes = 64 * 1024;
/** Metadata services of AWS and Azure, where the token of the machine is fetched from. */
const metadataHosts = ['169.254.169.254', '[fd00:ec2::254]'];

const urlIn = (allowed: (url: URL) => boolean, what: string) =>
  line.refine((text) => {
    const url = URL.parse(text);
    return url !== null && `${url.username}${url.password}${url.hash}` === '' && allowed(url);
  }, what);

const loopback = (url: URL): boolean => gcpLoopbackHosts.includes(url.hostname);
/** Tokens are shown to Google alone (or to a stand-in on this machine). */
const google = urlIn(
  (url) => loopback(url) || (url.protocol === 'https:' && url.hostname.endsWith('.googleapis.com') && url.port === ''),
  'must be an https address of googleapis.com',
);
const source = urlIn(
  (url) => url.protocol === 'https:' || loopback(url) || metadataHosts.includes(url.hostname),
  'must be https; http is for loopback and metadata services only',
);
const metadata = urlIn((url) => metadataHosts.includes(url.hostname), 'must be an address of the metadata service');
const sts = urlIn(
  (url) =>
    url.protocol === 'https:' &&
    /^sts\.(?:\{region\}|[a-z0-9-]+)\.amazonaws\.com$/.test(decodeURIComponent(url.hostname)),
  'must be https://sts.{region}.amazonaws.com?...',
);

const format = z.object({ type: z.enum(['text', 'json']).optional(), subject_token_field_name: line.optional() });
const credentialSource = z.union(
  [
    z.strictObject({ file: line, format: format.optional() }),
    z.strictObject({ url: source, headers: z.record(line, line).optional(), format: format.optional() }),
    z.strictObject({
      environment_id: z.literal('aws1'),
      region_url: metadata.optional(),
      url: metadata.optional(),
      imdsv2_session_token_url: metadata.optional(),
      regional_cred_verification_url: sts,
    }),
  ],
  { error: 'must be a file, a url or aws1 with safe addresses; executable and certificate are not used here' },
);

const shared = { quota_project_id: line.optional(), universe_domain: z.literal('googleapis.com').optional() };

const serviceAccount = z.object({
  type: z.literal('service_account'),
  client_email: line,
  private_key_id: line.optional(),
  private_key: z
    .string()
    .max(16 * 1024)
    .refine(isPrivateKey, 'must be a private key in PEM'),
  ...shared,
});
const externalAccount = z.object({
  type: z.literal('external_account'),
  audience: line,
  subject_token_type: line,
  token_url: google,
  credential_source: credentialSource,
  service_account_impersonation_url: google.optional(),
  service_account_impersonation: z
    .object({ token_lifetime_seconds: z.int().min(600).max(43_200).optional() })
    .optional(),
  ...shared,
});
const impersonated = z.object({
  type: z.literal('impersonated_service_account'),
  source_credentials: z.discriminatedUnion('type', [serviceAccount, externalAccount], {
    error: 'must be of type service_account or external_account',
  }),
  service_account_impersonation_url: google.refine(
    (url) => /\/[^/:]+@[^/:]+:generateAccessToken$/.test(url),
    'must end in /ACCOUNT:generateAccessToken',
  ),
  delegates: z.array(line).max(8).optional(),
  ...shared,
});

const credentialsFile = z.discriminatedUnion('type', [serviceAccount, externalAccount, impersonated], {
  error:
    'must be of type external_account, service_account or impersonated_service_account; the login of a person is not used',
});

export type GcpCredentialsFile = z.infer<typeof credentialsFile>;

function isPrivateKey(pem: string): boolean {
  try {
    return createPrivateKey(pem).type === 'private';
  } catch {
    return false;
  }
}

/**
 * Reads and checks a file of Google credentials. Throws `failed_precondition`: `KEY_FILE_UNREADABLE`, or `KEY_FILE_INVALID`
 * with the field that is wrong; never a value.
 */
export const readGcpCredentialsFile = async (path: string): Promise<GcpCredentialsFile> => {
  const text = await readTextFile(path, 'the Google credentials file', maxFileBytes);
  const refuse = (why: string): CountersignError =>
    new CountersignError(
      'failed_precondition',
      'KEY_FILE_INVALID',
      `The Google credentials file ${path} cannot be used: ${why}.`,
    );
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw refuse('it is not JSON');
  }
  const parsed = credentialsFile.safeParse(json);
  if (parsed.success) return parsed.data;
  throw refuse(parsed.error.issues.map(({ path: at, message }) => `${at.join('.') || 'type'}: ${message}`).join('; '));
};

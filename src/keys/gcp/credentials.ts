import { type AuthClient, AwsClient, GoogleAuth, IdentityPoolClient, Impersonated, JWT } from 'google-auth-library';
import type { Context } from '../../model/context.ts';
import { waitFor } from '../../model/wait.ts';
import { type GcpCredentialsFile, readGcpCredentialsFile } from './credentials-file.ts';
import { gcpCredentialsError } from './errors.ts';

/** As whom Cloud KMS is asked. */
export type GcpIdentity = {
  /** Undefined: the application default credentials. */
  readonly credentialsFile: string | undefined;
  readonly impersonate: string | undefined;
};

/** Headers of a request, from one reading of the credentials. */
export type GcpHeaders = { readonly reading: number; readonly headers: Readonly<Record<string, string>> };

/** Tokens for Cloud KMS, or another use, kept and renewed before they expire. Safe to call concurrently. */
export type GcpCredentials = {
  /** Throws as `gcpCredentialsError`, `KEY_FILE_UNREADABLE` or `KEY_FILE_INVALID`, or when the context ends. */
  headers(context: Context): Promise<GcpHeaders>;
  /** After `headers` were refused: may others help? Then the next ones come from the credentials read anew. */
  renew(refused: GcpHeaders): boolean;
};

/**
 * What tokens are for. `selfSigned`: a service account's key may sign the token itself (https://google.aip.dev/auth/4111), and no token
 * service is asked.
 */
export type GcpUse = { readonly scopes: readonly string[]; readonly selfSigned: boolean };

/** The narrowest scope that signs. */
const kmsUse: GcpUse = { scopes: ['https://www.googleapis.com/auth/cloudkms'], selfSigned: true };
/** Impersonation is asked of the IAM service, which this scope does not cover. */
const platformScopes = ['https://www.googleapis.com/auth/cloud-platform'];
/** Refused credentials are read anew at most this often: a wrong identity must not become a storm on the token service. */
const renewIntervalMs = 5_000;

type Plain = Exclude<GcpCredentialsFile, { type: 'impersonated_service_account' }>;

const plainClient = (file: Plain, wanted: string[], selfSigned: boolean): AuthClient => {
  const quota = file.quota_project_id === undefined ? {} : { quotaProjectId: file.quota_project_id };
  if (file.type === 'service_account') {
    const client = new JWT({
      email: file.client_email,
      key: file.private_key,
      ...(file.private_key_id === undefined ? {} : { keyId: file.private_key_id }),
      scopes: wanted,
      ...quota,
    });
    client.useJWTAccessWithScope = selfSigned;
    return client;
  }
  const { quota_project_id: _, universe_domain: __, credential_source: from, ...rest } = file;
  const options = { ...rest, scopes: wanted, ...quota };
  // The types of the library name each optional field without undefined, which zod cannot.
  return 'environment_id' in from
    ? new AwsClient({ ...options, credential_source: from } as ConstructorParameters<typeof AwsClient>[0])
    : new IdentityPoolClient({ ...options, credential_source: from } as ConstructorParameters<
        typeof IdentityPoolClient
      >[0]);
};

const impersonating = (
  sourceClient: AuthClient,
  targetPrincipal: string,
  use: GcpUse,
  delegates: string[] = [],
): AuthClient =>
  new Impersonated({ sourceClient, targetPrincipal, targetScopes: [...use.scopes], delegates, lifetime: 3600 });

const fileClient = (file: GcpCredentialsFile, wanted: string[], use: GcpUse): AuthClient => {
  if (file.type !== 'impersonated_service_account') return plainClient(file, wanted, use.selfSigned);
  const target = /\/([^/:]+):generateAccessToken$/.exec(file.service_account_impersonation_url)?.[1] ?? '';
  const source = plainClient(file.source_credentials, platformScopes, use.selfSigned);
  return impersonating(source, target, use, file.delegates);
};

const openAuthClient = async ({ credentialsFile, impersonate }: GcpIdentity, use: GcpUse): Promise<AuthClient> => {
  const wanted = impersonate === undefined ? [...use.scopes] : platformScopes;
  const path = credentialsFile ?? process.env['GOOGLE_APPLICATION_CREDENTIALS'];
  // A project id that is told is not looked for, which would start `gcloud` and ask the metadata service.
  const client =
    path === undefined || path === ''
      ? await new GoogleAuth({ scopes: wanted, projectId: 'unused' }).getClient()
      : fileClient(await readGcpCredentialsFile(path), wanted, use);
  return impersonate === undefined ? client : impersonating(client, impersonate, use);
};

/** Credentials for one identity; nothing is read or asked yet. `kms` names the service in messages. Default `use`: to sign. */
export const createGcpCredentials = (identity: GcpIdentity, kms: string, use: GcpUse = kmsUse): GcpCredentials => {
  let opening: Promise<AuthClient> | undefined;
  let asking: Promise<Headers> | undefined;
  let reading = 0;
  let renewedAt = Number.NEGATIVE_INFINITY;

  const ask = async (): Promise<Headers> => {
    opening ??= openAuthClient(identity, use);
    try {
      return await (await opening).getRequestHeaders();
    } catch (caught) {
      opening = undefined;
      throw gcpCredentialsError(kms, caught);
    }
  };

  return {
    headers: async (context) => {
      const of = reading;
      // One request to a token service for all who wait; the library keeps the token, so most find it at once.
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      return { reading: of, headers: Object.fromEntries(await waitFor(asking, context)) };
    },
    renew: (refused) => {
      if (refused.reading !== reading) return true;
      if (performance.now() - renewedAt < renewIntervalMs) return false;
      renewedAt = performance.now();
      reading += 1;
      opening = undefined;
      asking = undefined;
      return true;
    },
  };
};

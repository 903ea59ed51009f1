import { AsyncLocalStorage } from 'node:async_hooks';
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from '@azure/identity';
import { CountersignError } from '../../model/error.ts';
import type { HttpClientOptions } from '../../net/http.ts';
import type { HttpClient } from '../../net/port.ts';
import { azureTokenError, type TokenFailure } from './errors.ts';
import { azureTransport } from './http.ts';
import type { AzureCredentialSettings } from './settings.ts';
import { readSecretFile, readTextFile } from '../read-file.ts';

/** What gives tokens to the SDK's clients; safe to call concurrently. Errors as `azureTokenError`. */
export type AzureCredential = Pick<ClientSecretCredential, 'getToken'> & {
  /** Drops the tokens that are kept, and reads files anew: the vault refused one. */
  forget(): void;
};

type Issued = Awaited<ReturnType<ClientSecretCredential['getToken']>>;
type Options = ConstructorParameters<typeof ClientSecretCredential>[3] & object;

/** Who issues tokens in the clouds of Azure; all others cannot be looked up at Microsoft. */
const knownAuthorities = new Set([
  'https://login.microsoftonline.com',
  'https://login.chinacloudapi.cn',
  'https://login.microsoftonline.us',
]);

/** Where managed identities are served from: the metadata service, or an endpoint that the platform names. */
const identityEndpoints = ['IDENTITY_ENDPOINT', 'MSI_ENDPOINT', 'IMDS_ENDPOINT', 'AZURE_POD_IDENTITY_AUTHORITY_HOST'];
const metadataHost = '169.254.169.254';

/** What the outbound client must allow for a credential: managed identities are plain http at a local address. */
export const credentialEgress = (method: AzureCredentialSettings['method']): HttpClientOptions => {
  if (method !== 'managed-identity') return { plainHttpHosts: [] };
  const named = identityEndpoints.flatMap((name) => URL.parse(process.env[name] ?? '')?.hostname ?? []);
  const hosts = [metadataHost, ...named];
  return { plainHttpHosts: hosts, allowPrivate: hosts };
};

/** A credential that was refused is not tried again before this, milliseconds: every signature would ask the issuer. */
const refusedMs = 5_000;

const missing = (setting: string, variable: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'KEY_ACCESS_DENIED',
    `The workload identity of the key is not known: set credential.${setting}, or ${variable} (label the pod ` +
      'azure.workload.identity/use: "true").',
  );

const named = (value: string | undefined, setting: string, variable: string): string => {
  const found = value ?? process.env[variable] ?? '';
  if (found === '') throw missing(setting, variable);
  return found;
};

const make = async (
  settings: AzureCredentialSettings,
  options: Options,
): Promise<Pick<ClientSecretCredential, 'getToken'>> => {
  switch (settings.method) {
    case 'workload-identity':
      return new WorkloadIdentityCredential({
        ...options,
        tenantId: named(settings.tenantId, 'tenantId', 'AZURE_TENANT_ID'),
        clientId: named(settings.clientId, 'clientId', 'AZURE_CLIENT_ID'),
        tokenFilePath: named(settings.tokenFile, 'tokenFile', 'AZURE_FEDERATED_TOKEN_FILE'),
      });
    case 'managed-identity': {
      const { clientId } = settings;
      return new ManagedIdentityCredential({ ...options, ...(clientId === undefined ? {} : { clientId }) });
    }
    case 'client-secret': {
      const { tenantId, clientId, secret, secretFile } = settings;
      const read = secret ?? (await readSecretFile(secretFile ?? '', 'the client secret'));
      return new ClientSecretCredential(tenantId, clientId, read, options);
    }
    case 'client-certificate': {
      const { tenantId, clientId, certificateFile } = settings;
      const certificate = await readTextFile(certificateFile, 'the client certificate', 1024 * 1024);
      return new ClientCertificateCredential(tenantId, clientId, { certificate }, options);
    }
  }
};

/** One asking for a token: through which client, and how its last request ended. */
type Attempt = { readonly http: HttpClient; failure: TokenFailure };
const attempts = new AsyncLocalStorage<Attempt>();

/**
 * One transport for all credentials, which finds the client by who asks: for managed identities the library keeps the first
 * one that it was given, for the whole process, also when the key that it was given for is long closed.
 */
const transport = azureTransport(
  {
    request: async (request, context) => {
      const attempt = attempts.getStore();
      if (attempt === undefined) throw new TypeError('a token was asked for outside of an attempt');
      try {
        const response = await attempt.http.request(request, context);
        attempt.failure = { network: undefined, status: response.status };
        return response;
      } catch (caught) {
        attempt.failure = { network: caught, status: undefined };
        throw caught;
      }
    },
    close: async () => undefined,
  },
  () => undefined,
);

/**
 * The configured credential, and no other: nothing is guessed from the machine. Tokens are kept until shortly before they
 * expire; concurrent requests for one share it. The library's own retries are off, and after a failure it is made anew:
 * it would refuse by itself for a minute what the issuer refused once. `vault` names what the token is for, in messages.
 */
export const createAzureCredential = (
  settings: AzureCredentialSettings,
  authorityHost: string | undefined,
  http: HttpClient,
  vault: string,
): AzureCredential => {
  let made: ReturnType<typeof make> | undefined;
  let refusal: { readonly error: CountersignError; readonly until: number } | undefined;
  const authority = authorityHost ?? process.env['AZURE_AUTHORITY_HOST']?.replace(/\/$/, '');
  const options: Options = {
    httpClient: transport,
    retryOptions: { maxRetries: 0 },
    redirectOptions: { maxRetries: 0 },
    ...(authorityHost === undefined ? {} : { authorityHost }),
    disableInstanceDiscovery: authority !== undefined && !knownAuthorities.has(authority),
  };

  const acquire = async (...asked: Parameters<ClientSecretCredential['getToken']>): Promise<Issued> => {
    const attempt: Attempt = { http, failure: { network: undefined, status: undefined } };
    made ??= make(settings, { ...options });
    const making = made;
    try {
      return await attempts.run(attempt, async () => (await making).getToken(...asked));
    } catch (caught) {
      if (made === making) made = undefined;
      const error = azureTokenError(vault, caught, attempt.failure);
      if (error instanceof CountersignError && error.code === 'failed_precondition') {
        refusal = { error, until: performance.now() + refusedMs };
      }
      throw error;
    }
  };

  const pending = new Map<string, Promise<Issued>>();
  return {
    getToken: (scopes, { claims, enableCae, tenantId } = {}) => {
      const id = JSON.stringify([scopes, claims, enableCae, tenantId]);
      const waiting = pending.get(id);
      if (waiting !== undefined) return waiting;
      if (refusal !== undefined && performance.now() < refusal.until) return Promise.reject(refusal.error);
      // Without the signal of whoever asked first: others wait for the same token.
      const asked = {
        ...(claims === undefined ? {} : { claims }),
        ...(enableCae === undefined ? {} : { enableCae }),
        ...(tenantId === undefined ? {} : { tenantId }),
      };
      const acquiring = acquire(scopes, asked).finally(() => pending.delete(id));
      pending.set(id, acquiring);
      return acquiring;
    },
    forget: () => {
      made = undefined;
    },
  };
};

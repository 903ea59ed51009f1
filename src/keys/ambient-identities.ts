import { CountersignError } from '../model/error.ts';
import { waitFor } from '../model/wait.ts';
import type { HttpClientOptions } from '../net/http.ts';
import type { HttpClient } from '../net/port.ts';
import type { AmbientIdentities, AzureAsked, CloudToken } from '../registry/credentials/source.ts';
import type { AzureCredential } from './azure/credential.ts';
import type { GcpCredentials, GcpHeaders } from './gcp/credentials.ts';

type OpenedAzure = { readonly credential: AzureCredential; readonly http: HttpClient };

/** What Artifact Registry asks of access tokens; the roles of the account bound what they may do. */
const googleScopes = ['https://www.googleapis.com/auth/cloud-platform'];
/** The library renews a token that has less than five minutes left, so each that it gives lasts so long. */
const googleLifetimeMs = 300_000;

/**
 * Who the service is where it runs, for registries: the same sources of credentials as keys have, so the same rules hold (no guessing
 * between identities of Azure, no executables or foreign token services in Google's files). Each is opened, and its SDK read, when it is
 * first asked. Errors are those of keys of that cloud: who asks says what they were for.
 */
export const createAmbientIdentities = (deps: {
  readonly createHttp: (options: HttpClientOptions) => HttpClient;
}): AmbientIdentities & { close(): Promise<void> } => {
  const azures = new Map<string, Promise<OpenedAzure>>();
  let aws: Promise<AmbientIdentities['aws']> | undefined;
  let google: Promise<GcpCredentials> | undefined;
  let given: GcpHeaders | undefined;

  const openAws = async (): Promise<AmbientIdentities['aws']> => {
    const [{ fromNodeProviderChain }, { awsCredentialsError }, { silent }] = await Promise.all([
      import('@aws-sdk/credential-providers'),
      import('./aws/credentials-errors.ts'),
      import('./aws/transport.ts'),
    ]);
    const provider = fromNodeProviderChain({ logger: silent });
    return async (context, anew) => {
      try {
        const asked = provider({ forceRefresh: anew });
        const { accessKeyId, secretAccessKey, sessionToken } = await waitFor(asked, context);
        return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
      } catch (caught) {
        throw awsCredentialsError('the registry', caught);
      }
    };
  };

  const openAzure = async ({ authorityHost, clientId }: AzureAsked): Promise<OpenedAzure> => {
    const { createAzureCredential, credentialEgress } = await import('./azure/credential.ts');
    const method = process.env['AZURE_FEDERATED_TOKEN_FILE'] ? 'workload-identity' : 'managed-identity';
    const http = deps.createHttp(credentialEgress(method));
    const settings = { method, ...(clientId === undefined ? {} : { clientId }) } as const;
    return { http, credential: createAzureCredential(settings, authorityHost, http, 'the registry') };
  };

  return {
    aws: async (context, anew) => {
      aws ??= openAws();
      return (await aws)(context, anew);
    },
    azure: async (asked, context, anew): Promise<CloudToken> => {
      const id = JSON.stringify([asked.authorityHost, asked.clientId]);
      const opened = azures.get(id) ?? openAzure(asked);
      azures.set(id, opened);
      const { credential } = await opened;
      if (anew) credential.forget();
      const issued = await waitFor(credential.getToken(asked.scope), context);
      if (issued === null) throw noToken('Azure');
      return { token: issued.token, lifetimeMs: Math.max(0, issued.expiresOnTimestamp - Date.now()) };
    },
    google: async (context, anew) => {
      google ??= import('./gcp/credentials.ts').then(({ createGcpCredentials }) =>
        createGcpCredentials({ credentialsFile: undefined, impersonate: undefined }, 'the registry', {
          scopes: googleScopes,
          selfSigned: false,
        }),
      );
      const credentials = await google;
      if (anew && given !== undefined) credentials.renew(given);
      given = await credentials.headers(context);
      const token = /^Bearer ([\x21-\x7e]+)$/.exec(given.headers['authorization'] ?? '')?.[1];
      if (token === undefined) throw noToken('Google');
      return { token, lifetimeMs: googleLifetimeMs };
    },
    close: async () => {
      const opened = await Promise.allSettled(azures.values());
      await Promise.all(opened.map((each) => (each.status === 'fulfilled' ? each.value.http.close() : undefined)));
    },
  };
};

const noToken = (cloud: string): CountersignError =>
  new CountersignError('unavailable', 'REGISTRY_CREDENTIAL_UNAVAILABLE', `${cloud} gave no token.`);

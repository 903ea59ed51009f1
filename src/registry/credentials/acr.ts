import { z } from 'zod';
import { decodeBase64Url } from '../../codec/base64.ts';
import type { Context } from '../../model/context.ts';
import type { HttpClient, HttpResponse } from '../../net/port.ts';
import { credentialError, wrapCredentialError } from './errors.ts';
import { createIssuedCredentials, type Issued } from './issued.ts';
import type { AmbientIdentities, CredentialSource } from './source.ts';

const maxAnswerBytes = 64 * 1024;

/**
 * By the end of the host: what the token of Entra ID is for, and who issues it. Public: the registry's own audience, which is taken
 * also where tokens for the resource manager are not; the other clouds as the SDK of Azure knows them.
 */
type Cloud = { readonly audience: string; readonly authorityHost: string | undefined };
const publicCloud: Cloud = { audience: 'https://containerregistry.azure.net', authorityHost: undefined };
const clouds: Readonly<Record<string, Cloud>> = {
  cn: { audience: 'https://management.chinacloudapi.cn', authorityHost: 'https://login.chinacloudapi.cn' },
  us: { audience: 'https://management.usgovcloudapi.net', authorityHost: 'https://login.microsoftonline.us' },
};

const answer = z.looseObject({ refresh_token: z.string().min(1).max(maxAnswerBytes) });
const claims = z.looseObject({ exp: z.number() });

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** When a token says that it ends; only to renew it in time. */
const lifetimeOf = (jwt: string): number | undefined => {
  const payload = decodeBase64Url(jwt.split('.')[1] ?? '')?.toString('utf8') ?? '';
  const exp = claims.safeParse(parseJson(payload)).data?.exp;
  return exp === undefined ? undefined : Math.max(0, exp * 1_000 - Date.now());
};

/**
 * The refresh tokens of Azure Container Registry for the Azure identity of the service (Azure/acr, "Azure Container Registry integration
 * with Azure Active Directory"): an access token of Entra ID is exchanged at `/oauth2/exchange` of that registry, and what comes back
 * at its `/oauth2/token` for one that reads or writes one repository. Neither is shown to anybody else.
 */
export const openAcrCredentials = (
  identities: Pick<AmbientIdentities, 'azure'>,
  http: HttpClient,
  clientId: string | undefined,
): CredentialSource => {
  const issued = createIssuedCredentials();

  const exchange = async (host: string, context: Context, anew: boolean): Promise<HttpResponse> => {
    const { audience, authorityHost } = clouds[host.slice(host.lastIndexOf('.') + 1)] ?? publicCloud;
    const asked = { scope: `${audience}/.default`, authorityHost, clientId };
    const { token } = await identities.azure(asked, context, anew);
    const form = new URLSearchParams({ grant_type: 'access_token', service: host, access_token: token });
    return http.request(
      {
        method: 'POST',
        url: `https://${host}/oauth2/exchange`,
        headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
        body: Buffer.from(form.toString()),
        maxBytes: maxAnswerBytes,
      },
      context,
    );
  };

  const issue = async (host: string, context: Context): Promise<Issued> => {
    let response: HttpResponse;
    try {
      response = await exchange(host, context, false);
      if (response.status === 401) response = await exchange(host, context, true);
    } catch (caught) {
      const why = 'the Azure identity of the service, or the exchange of its token, gave none';
      throw wrapCredentialError(caught, host, why);
    }
    const { status } = response;
    const fail = (why: string, passes: boolean) =>
      credentialError('REGISTRY_CREDENTIAL_UNAVAILABLE', host, `its token exchange ${why}`, { passes });
    if (status !== 200) throw fail(`answered ${status}`, status === 429 || status >= 500);
    const token = answer.safeParse(parseJson(Buffer.from(response.body).toString('utf8'))).data?.refresh_token;
    if (token === undefined) throw fail('answered with something that is no token', true);
    const lifetimeMs = lifetimeOf(token);
    return {
      credential: { kind: 'identity-token', token, ownRealm: true },
      ...(lifetimeMs === undefined ? {} : { lifetimeMs }),
    };
  };

  return {
    fetch: (host, context, anew) => issued.get({ key: host, host, anew }, context, (shared) => issue(host, shared)),
  };
};

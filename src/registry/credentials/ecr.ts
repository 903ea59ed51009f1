import { z } from 'zod';
import { decodeBase64 } from '../../codec/base64.ts';
import type { Context } from '../../model/context.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../../net/port.ts';
import { credentialError, wrapCredentialError } from './errors.ts';
import { createIssuedCredentials, type Issued } from './issued.ts';
import type { AmbientIdentities, AwsIdentity, CredentialSource } from './source.ts';

/** Where the tokens of a registry come from. */
type Api = { readonly url: string; readonly region: string; readonly service: string; readonly target: string };

const hostPattern =
  /^\d{12}\.dkr(?:\.ecr|-ecr)(-fips)?\.([a-z0-9-]+)\.(amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|on\.aws)$/;
const maxAnswerBytes = 64 * 1024;

/**
 * The API for a registry host (Amazon ECR, "Service endpoints"): that of its region, with FIPS or for IPv6 as the host is; public
 * registries have one for all. `host` must have passed the pattern of the settings.
 */
export const ecrApi = (host: string): Api => {
  if (host === 'public.ecr.aws') {
    const target = 'SpencerFrontendService.GetAuthorizationToken';
    return {
      url: 'https://api.ecr-public.us-east-1.amazonaws.com/',
      region: 'us-east-1',
      service: 'ecr-public',
      target,
    };
  }
  const [, fips = '', region = '', suffix = ''] = hostPattern.exec(host) ?? [];
  const name = suffix === 'on.aws' || fips !== '' ? `ecr${fips}` : 'api.ecr';
  return {
    url: `https://${name}.${region}.${suffix === 'on.aws' ? 'api.aws' : suffix}/`,
    region,
    service: 'ecr',
    target: 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken',
  };
};

const sign = async (api: Api, identity: AwsIdentity): Promise<HttpRequest> => {
  // Only who has such a registry pays for reading them.
  const [{ SignatureV4 }, { Hash }] = await Promise.all([import('@smithy/signature-v4'), import('@smithy/core/serde')]);
  const { protocol, hostname, host, port } = new URL(api.url);
  const signer = new SignatureV4({
    credentials: identity,
    region: api.region,
    service: api.service,
    sha256: Hash.bind(undefined, 'sha256') as unknown as ConstructorParameters<typeof SignatureV4>[0]['sha256'],
  });
  const body = '{}';
  const { headers } = await signer.sign({
    method: 'POST',
    protocol,
    hostname,
    ...(port === '' ? {} : { port: Number(port) }),
    path: '/',
    query: {},
    headers: { host, 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': api.target },
    body,
  });
  const { host: _, ...rest } = headers;
  return { method: 'POST', url: api.url, headers: rest, body: Buffer.from(body), maxBytes: maxAnswerBytes };
};

const data = z.looseObject({ authorizationToken: z.string(), expiresAt: z.number() });
const answer = z.looseObject({ authorizationData: z.union([data, z.array(data).min(1)]) });

/** API reference, GetAuthorizationToken: `authorizationToken` is base64 of user:password, `expiresAt` seconds since 1970. */
const parseAnswer = (body: Uint8Array): Issued | undefined => {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(body).toString('utf8'));
  } catch {
    return undefined;
  }
  const found = answer.safeParse(json).data?.authorizationData;
  const issued = Array.isArray(found) ? found[0] : found;
  const text = decodeBase64(issued?.authorizationToken ?? '')?.toString('utf8') ?? '';
  const colon = text.indexOf(':');
  if (issued === undefined || colon <= 0) return undefined;
  return {
    credential: { kind: 'basic', username: text.slice(0, colon), password: text.slice(colon + 1), ownRealm: true },
    lifetimeMs: Math.max(0, issued.expiresAt * 1_000 - Date.now()),
  };
};

/** The name of AWS' own error, which is what it is: `AccessDeniedException`. */
const errorName = ({ body }: HttpResponse): string | undefined =>
  /"__type"\s*:\s*"(?:[\w.]{1,100}#)?(\w{1,64})"/.exec(Buffer.from(body).toString('latin1'))?.[1];

/** "Common error types" of AWS: credentials that ended, or were replaced, where they come from. */
const stale = new Set(['ExpiredTokenException', 'UnrecognizedClientException', 'InvalidSignatureException']);

/**
 * The tokens of Amazon ECR (12 hours) by the AWS identity of the service. The identity must be allowed `ecr:GetAuthorizationToken`; for
 * public registries `ecr-public:GetAuthorizationToken` and `sts:GetServiceBearerToken`. `api`: for tests, another API.
 */
export const openEcrCredentials = (
  identities: Pick<AmbientIdentities, 'aws'>,
  http: HttpClient,
  api: (host: string) => Api = ecrApi,
): CredentialSource => {
  const issued = createIssuedCredentials();

  const issue = async (host: string, context: Context): Promise<Issued> => {
    const fail = (why: string, passes: boolean) =>
      credentialError('REGISTRY_CREDENTIAL_UNAVAILABLE', host, why, { passes });
    const asked = api(host);
    const where = new URL(asked.url).host;
    let response: HttpResponse;
    try {
      response = await http.request(await sign(asked, await identities.aws(context, false)), context);
      if (stale.has(errorName(response) ?? '')) {
        response = await http.request(await sign(asked, await identities.aws(context, true)), context);
      }
    } catch (caught) {
      throw wrapCredentialError(caught, host, `the AWS identity of the service, or ${where}, gave none`);
    }
    const { status } = response;
    if (status !== 200) {
      const name = errorName(response) ?? 'no reason';
      const throttled = status === 429 || /^(?:Throttling|TooManyRequests)/.test(name);
      throw fail(`${where} answered ${status} (${name})`, throttled || status >= 500);
    }
    const token = parseAnswer(response.body);
    if (token === undefined) throw fail(`${where} answered with something that is no token`, true);
    return token;
  };

  return {
    fetch: (host, context, anew) => issued.get({ key: host, host, anew }, context, (shared) => issue(host, shared)),
  };
};

// An Azure-shaped vault and issuer of tokens, of ours: no program stands in for Azure Key Vault, so what this one claims is
// written beside each claim with where it is from. "REST" is Microsoft's REST reference of Key Vault 2025-07-01, "SDK" the
// behaviour of @azure/keyvault-keys 4.10.2 and @azure/identity 4.14.1 as read in their code, "peers" peers.md section 6.
import { randomBytes, randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { makeCertificates } from '../certificates.ts';
import { type FakeKind, type FakeVersion, jwkOf, makeVersion, signWith } from './fake-azure-keys.ts';

export type Call = {
  /** `challenge` for a request to the vault without a token; else by what is asked. */
  readonly operation:
    | 'challenge'
    | 'versions'
    | 'get'
    | 'attestation'
    | 'sign'
    | 'openid'
    | 'token'
    | 'identity'
    | 'other';
  readonly path: string;
  readonly authorization: string;
  readonly body: string;
};
export type Answer = {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};
/** Answers in place of the real thing; `undefined` lets the call through. */
export type Fault = (call: Call, response: ServerResponse) => Answer | 'handled' | undefined;

export type FakeAzure = {
  /** https, a certificate of `ca`. Both the vault and the issuer of tokens. */
  readonly origin: string;
  /** PEM. */
  readonly ca: string;
  /** Plain http: what IDENTITY_ENDPOINT is set to. */
  readonly identityEndpoint: string;
  readonly calls: readonly Call[];
  count(operation: Call['operation']): number;
  seen(operation: Call['operation'], count: number): Promise<void>;
  /** Adds a version, made `age` seconds ago, to a key, which is made for the first. */
  addVersion(key: string, kind?: FakeKind, age?: number): FakeVersion;
  /** The `kid` of a version. */
  kid(key: string, version: FakeVersion): string;
  remove(key: string): void;
  fail(operation: Call['operation'], fault: Fault | Answer, times?: number): void;
  /** No token that was issued so far is accepted any more. */
  revokeTokens(): void;
  /** `resource` of the challenge, in place of that of the host. */
  setResource(resource: string): void;
  /** So many versions a page. */
  setPageSize(size: number): void;
  close(): Promise<void>;
};

export const tenantId = '11111111-2222-3333-4444-555555555555';
export const clientId = '66666666-7777-8888-9999-000000000000';
export const clientSecret = 'the-secret-of-a-test';

/** REST, KeyVaultError: `innererror` says what `Forbidden` means. */
export const azureFault = (status: number, code: string, inner?: string, message = ''): Answer => ({
  status,
  body: { error: { code, message, ...(inner === undefined ? {} : { innererror: { code: inner } }) } },
});

/** peers: a key that is disabled, not valid, expired, or not for the operation is 403 Forbidden with an innererror. */
const refusal = ({ attributes, keyOps }: FakeVersion, operation: string): Answer | undefined => {
  const now = Date.now() / 1000;
  const words = (why: string) => `Operation ${operation} is not allowed on ${why} key.`;
  if (attributes['enabled'] === false) return azureFault(403, 'Forbidden', 'KeyDisabled', words('a disabled'));
  // "About keys", date-time controlled operations: keys outside nbf / exp can be read, and verify, but not sign.
  if (operation !== 'sign') return undefined;
  // The innererror of these two is written nowhere that was found; SecretExpired is that of secrets (AzureKeyVault#19).
  if (Number(attributes['nbf'] ?? 0) > now)
    return azureFault(403, 'Forbidden', 'KeyNotYetValid', words('a not yet valid'));
  if (Number(attributes['exp'] ?? now + 1) <= now)
    return azureFault(403, 'Forbidden', 'KeyExpired', words('an expired'));
  if (keyOps.includes('sign')) return undefined;
  // azure-sdk-for-net#11518
  return azureFault(403, 'Forbidden', 'KeyOperationForbidden', 'Operation sign is not permitted on this key.');
};

const operationOf = (path: string, authorized: boolean): Call['operation'] => {
  if (path.endsWith('/openid-configuration')) return 'openid';
  if (path.endsWith('/oauth2/v2.0/token')) return 'token';
  if (path === '/identity') return 'identity';
  if (!path.startsWith('/keys/')) return 'other';
  if (!authorized) return 'challenge';
  const [, , , third, fourth] = path.split('/');
  if (third === 'versions') return 'versions';
  if (fourth === 'sign' || fourth === 'attestation') return fourth;
  return 'get';
};

const readBody = async (request: IncomingMessage): Promise<string> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};

export const startFakeAzure = async (): Promise<FakeAzure> => {
  const keys = new Map<string, FakeVersion[]>();
  const calls: Call[] = [];
  const events = new EventEmitter();
  const { ca, server: certificate } = makeCertificates();
  let faults: { readonly operation: Call['operation']; readonly fault: Fault | Answer; times: number }[] = [];
  let tokens = new Set<string>();
  let resource: string | undefined;
  let pageSize = 25;
  let origin = '';

  const notFound = (name: string): Answer =>
    azureFault(404, 'KeyNotFound', undefined, `A key with (name/id) ${name} was not found in this key vault.`);
  const issue = (): string => {
    const token = `token-${randomBytes(8).toString('hex')}`;
    tokens.add(token);
    return token;
  };

  /** SDK: the issuer's metadata, then client credentials (RFC 6749 section 4.4) with a secret or a signed assertion. */
  const openid = (path: string, host: string): Answer => {
    const base = `https://${host}/${path.split('/')[1]}`;
    const authorization_endpoint = `${base}/oauth2/v2.0/authorize`;
    const jwks_uri = `${base}/discovery/v2.0/keys`;
    const body = {
      issuer: `${base}/v2.0`,
      token_endpoint: `${base}/oauth2/v2.0/token`,
      authorization_endpoint,
      jwks_uri,
    };
    return { status: 200, body };
  };
  const token = (body: string): Answer => {
    const asked = new URLSearchParams(body);
    if (!asked.has('client_assertion') && asked.get('client_secret') !== clientSecret) {
      // Entra ID's error codes: AADSTS7000215, invalid client secret.
      const error_description = `AADSTS7000215: Invalid client secret provided: ${asked.get('client_secret')}`;
      return { status: 401, body: { error: 'invalid_client', error_description, error_codes: [7000215] } };
    }
    return {
      status: 200,
      body: { token_type: 'Bearer', expires_in: 3600, ext_expires_in: 3600, access_token: issue() },
    };
  };
  /** "How to use managed identities for App Service": GET with X-IDENTITY-HEADER; expires_on in seconds since 1970. */
  const identity = (): Answer => {
    const expires_on = String(Math.floor(Date.now() / 1000) + 3600);
    return { status: 200, body: { access_token: issue(), expires_on, token_type: 'Bearer' } };
  };

  const kidOf = (host: string, name: string, version: string): string => `https://${host}/keys/${name}/${version}`;

  /** REST, GetKeyVersions: pages, linked by an absolute address with a $skiptoken. */
  const versions = (name: string, url: URL, host: string): Answer => {
    const all = keys.get(name) ?? [];
    const from = Number(url.searchParams.get('$skiptoken') ?? 0);
    const page = all.slice(from, from + pageSize);
    const value = page.map(({ version, attributes }) => ({ kid: kidOf(host, name, version), attributes }));
    const next = from + pageSize;
    const nextLink =
      next < all.length ? `https://${host}/keys/${name}/versions?api-version=7.6&$skiptoken=${next}` : null;
    return { status: 200, body: { value, nextLink } };
  };

  const sign = (version: FakeVersion, kid: string, body: string): Answer => {
    const { alg, value } = JSON.parse(body) as { alg: string; value: string };
    const signature = signWith(version, alg, value);
    if (typeof signature === 'string') return azureFault(400, 'BadParameter', undefined, signature);
    return { status: 200, body: { kid, value: signature.toString('base64url') } };
  };

  const serve = ({ operation, path, body }: Call, host: string): Answer => {
    const url = new URL(path, origin);
    if (operation === 'openid') return openid(url.pathname, host);
    if (operation === 'token') return token(body);
    if (operation === 'identity') return identity();
    if (operation === 'other') return { status: 404 };
    if (operation === 'challenge') {
      // peers: the challenge names the tenant's authority and the resource; a first request has no body (SDK).
      // "Authentication, requests and responses": https://vault.azure.net, https://managedhsm.azure.net, or that of the cloud.
      const named = /^[^.]+\.((?:vault|managedhsm)\..+)$/.exec(host)?.[1] ?? 'vault.azure.net';
      const asks = resource ?? `https://${named}`;
      const challenge = `Bearer authorization="https://login.microsoftonline.com/${tenantId}", resource="${asks}"`;
      return { ...azureFault(401, 'Unauthorized', undefined, 'AKV10000'), headers: { 'www-authenticate': challenge } };
    }
    const [, , name = '', id = ''] = url.pathname.split('/');
    const key = keys.get(name);
    if (operation === 'versions') return versions(name, url, host);
    // REST: without a version, the latest.
    const version = id === '' ? key?.at(-1) : key?.find((each) => each.version === id);
    if (version === undefined) return notFound(name);
    const kid = kidOf(host, name, version.version);
    const refused = refusal(version, operation);
    if (refused !== undefined) return refused;
    if (operation === 'sign') return sign(version, kid, body);
    const bundle = { key: jwkOf(version, kid), attributes: version.attributes };
    if (operation === 'get') return { status: 200, body: bundle };
    // REST, KeyAttestation: three base64url blobs and the version of the format.
    const blob = (text: string) => Buffer.from(`${text} of ${version.version}`).toString('base64url');
    const attestation = {
      certificatePemFile: blob('certificates'),
      privateKeyAttestation: blob('private key'),
      publicKeyAttestation: blob('public key'),
      version: '1.0',
    };
    return { status: 200, body: { ...bundle, attributes: { ...version.attributes, attestation } } };
  };

  const faultFor = (call: Call, response: ServerResponse): Answer | 'handled' | undefined => {
    const entry = faults.find(({ operation, times }) => times > 0 && operation === call.operation);
    if (entry === undefined) return undefined;
    entry.times -= 1;
    return typeof entry.fault === 'function' ? entry.fault(call, response) : entry.fault;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const authorization = request.headers.authorization ?? '';
    const path = request.url ?? '';
    const authorized = tokens.has(authorization.replace(/^Bearer /, ''));
    const operation = operationOf(new URL(path, 'https://x').pathname, authorized);
    const call = { operation, path, authorization, body: await readBody(request) };
    calls.push(call);
    events.emit('call');
    // A host name that a test sent here instead of to Azure.
    const host = String(request.headers['x-test-host'] ?? new URL(origin).host);
    const answer = faultFor(call, response) ?? serve(call, host);
    if (answer === 'handled') return;
    response.writeHead(answer.status, {
      'content-type': 'application/json; charset=utf-8',
      'x-ms-request-id': randomUUID(),
      ...answer.headers,
    });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  };

  const server = createServer({ ...certificate }, handle);
  const plain = createHttpServer(handle);
  for (const each of [server, plain]) {
    each.listen(0, '127.0.0.1');
    await once(each, 'listening');
  }
  origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const count = (operation: Call['operation']): number => calls.filter((call) => call.operation === operation).length;

  return {
    origin,
    ca,
    identityEndpoint: `http://127.0.0.1:${(plain.address() as AddressInfo).port}/identity`,
    calls,
    count,
    seen: async (operation, wanted) => {
      while (count(operation) < wanted) await once(events, 'call');
    },
    addVersion: (name, kind = 'P-256', age = 0) => {
      const version = makeVersion(kind, Math.floor(Date.now() / 1000) - 1 - age);
      keys.set(name, [...(keys.get(name) ?? []), version]);
      return version;
    },
    kid: (name, { version }) => kidOf(new URL(origin).host, name, version),
    remove: (name) => void keys.delete(name),
    fail: (operation, fault, times = Number.POSITIVE_INFINITY) => {
      faults = [{ operation, fault, times }, ...faults];
    },
    revokeTokens: () => {
      tokens = new Set();
    },
    setResource: (changed) => {
      resource = changed;
    },
    setPageSize: (size) => {
      pageSize = size;
    },
    close: async () => {
      for (const each of [server, plain]) {
        if (!each.listening) continue;
        each.closeAllConnections();
        each.close();
        await once(each, 'close');
      }
    },
  };
};

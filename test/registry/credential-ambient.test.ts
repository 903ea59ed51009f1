// Registries that know the service by where it runs, each against what its cloud documents; the source stands beside each claim.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import type { HttpRequest, HttpResponse } from '../../src/net/port.ts';
import type { AmbientIdentities } from '../../src/registry/credentials/source.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { ecrAnswer, ecrHost, inspected, json, load, noIdentities, scriptedHttp } from './credential-world.ts';
import { isError, resolve, within } from './world.ts';

const aws = { accessKeyId: 'AKIAOFATEST', secretAccessKey: 'secret-of-aws', sessionToken: 'session-of-aws' };
const acrHost = 'acmeinc.azurecr.io';
const garHost = 'europe-west3-docker.pkg.dev';

const formOf = ({ body }: HttpRequest): Record<string, string> =>
  Object.fromEntries(new URLSearchParams(Buffer.from(body ?? '').toString()));

test('Artifact Registry: the access token of the Google identity, under the documented user name', async () => {
  let count = 0;
  const identities: AmbientIdentities = {
    ...noIdentities,
    google: async () => {
      count += 1;
      return { token: `ya29.token-${count}`, lifetimeMs: 300_000 };
    },
  };
  const { at } = await load({ credentials: { [garHost]: { ambient: 'artifact-registry' } } }, { identities });
  // docs.cloud.google.com/artifact-registry/docs/docker/authentication, "Access token": `docker login -u oauth2accesstoken`.
  const wanted = (n: number) =>
    ({ kind: 'basic', username: 'oauth2accesstoken', password: `ya29.token-${n}`, ownRealm: true }) as const;
  assert.deepEqual(await at(garHost), wanted(1));
  assert.deepEqual(await at(garHost), wanted(2), 'who keeps it is the identity');
  assert.equal(await at('us-docker.pkg.dev'), undefined);
});

const jwt = (seconds: number): string =>
  ['e30', Buffer.from(JSON.stringify({ exp: Date.now() / 1000 + seconds })).toString('base64url'), 'refresh-sig'].join(
    '.',
  );

test('ACR: the token of Entra ID is exchanged at the registry, and only there', async () => {
  const scopes: string[] = [];
  const identities: AmbientIdentities = {
    ...noIdentities,
    azure: async ({ scope, authorityHost, clientId }) => {
      scopes.push([scope, authorityHost ?? '-', clientId ?? '-'].join(' '));
      return { token: 'entra-token', lifetimeMs: 3_600_000 };
    },
  };
  const refresh = jwt(10_800);
  const http = scriptedHttp(() => json({ refresh_token: refresh }));
  const clientId = '00000000-1111-2222-3333-444444444444';
  const { at } = await load(
    { credentials: { [acrHost]: { ambient: 'acr', clientId }, 'acmeinc.azurecr.cn': { ambient: 'acr' } } },
    { http, identities },
  );
  const wanted = { kind: 'identity-token', token: refresh, ownRealm: true };
  assert.deepEqual(await Promise.all([at(acrHost), at(acrHost)]), [wanted, wanted]);
  assert.deepEqual(await at(acrHost), wanted);
  // Azure/acr docs/AAD-OAuth.md, "Calling POST /oauth2/exchange".
  const [request, ...more] = http.asked;
  assert.ok(request !== undefined && more.length === 0);
  assert.equal(`${request.method} ${request.url}`, `POST https://${acrHost}/oauth2/exchange`);
  assert.deepEqual(formOf(request), { grant_type: 'access_token', service: acrHost, access_token: 'entra-token' });
  assert.notEqual(request.followRedirects, true);
  await at('acmeinc.azurecr.cn');
  // The audiences: azure-sdk-for-js, KnownContainerRegistryAudience; that of the public cloud as Azure's own tools ask for it.
  assert.deepEqual(scopes, [
    `https://containerregistry.azure.net/.default - ${clientId}`,
    'https://management.chinacloudapi.cn/.default https://login.chinacloudapi.cn -',
  ]);
});

test('ACR: an identity whose token is refused is asked for another, once', async () => {
  const asked: boolean[] = [];
  const identities: AmbientIdentities = {
    ...noIdentities,
    azure: async (_, __, anew) => {
      asked.push(anew);
      return { token: anew ? 'new' : 'old', lifetimeMs: 3_600_000 };
    },
  };
  const http = scriptedHttp((request) =>
    formOf(request)['access_token'] === 'new' ? json({ refresh_token: jwt(10_800) }) : { status: 401 },
  );
  const { at } = await load({ credentials: { [acrHost]: { ambient: 'acr' } } }, { http, identities });
  assert.equal((await at(acrHost))?.kind, 'identity-token');
  assert.deepEqual(asked, [false, true]);
});

test('ACR: what goes wrong is typed and holds no token', async () => {
  const rows: [answer: Partial<HttpResponse>, passes: boolean][] = [
    [{ status: 401, ...json({ errors: [{ code: 'UNAUTHORIZED', message: 'entra-token' }] }) }, false],
    [{ status: 403 }, false],
    [{ status: 307, headers: { location: 'https://evil.example/' } }, false],
    [{ status: 429 }, true],
    [{ status: 500 }, true],
    [json({ access_token: 'entra-token' }), true],
    [{ body: Buffer.from('entra-token') }, true],
  ];
  for (const [answer, passes] of rows) {
    const identities = { ...noIdentities, azure: async () => ({ token: 'entra-token', lifetimeMs: 1_000 }) };
    const http = scriptedHttp(() => answer);
    const { at } = await load({ credentials: { [acrHost]: { ambient: 'acr' } } }, { http, identities });
    await assert.rejects(at(acrHost), (caught: CountersignError) => {
      assert.doesNotMatch(inspected(caught), /entra-token/);
      return isError(passes ? 'unavailable' : 'failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE')(caught);
    });
    assert.deepEqual(new Set(http.asked.map(({ url }) => new URL(url).host)), new Set([acrHost]));
  }
});

test('identities that fail keep the reason for the log, and whether it may pass', async () => {
  const failing = (code: 'unavailable' | 'failed_precondition') => async (): Promise<never> => {
    const more = code === 'unavailable' ? { retryAfterMs: 1_234 } : {};
    throw new CountersignError(code, 'KEY_ACCESS_DENIED', 'There are no credentials: check the key.', more);
  };
  const section = {
    credentials: {
      [ecrHost]: { ambient: 'ecr' },
      [acrHost]: { ambient: 'acr' },
      [garHost]: { ambient: 'artifact-registry' },
    },
  };
  for (const code of ['unavailable', 'failed_precondition'] as const) {
    const identities = { aws: failing(code), azure: failing(code), google: failing(code) };
    const { at } = await load(section, { identities });
    for (const host of [ecrHost, acrHost, garHost]) {
      await assert.rejects(at(host), (caught: CountersignError) => {
        assert.match(
          caught.message,
          new RegExp(`no credentials for registry ${host}: the \\w+ identity of the service`),
        );
        assert.doesNotMatch(caught.message, /key/);
        assert.equal(caught.retryAfterMs, code === 'unavailable' ? 1_234 : undefined);
        assert.equal((caught.cause as CountersignError).reason, 'KEY_ACCESS_DENIED');
        return isError(code, 'REGISTRY_CREDENTIAL_UNAVAILABLE')(caught);
      });
    }
  }
});

test('GHCR: GITHUB_TOKEN, the file of GITHUB_TOKEN_FILE, or tokenFile', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'ghcr-'));
  t.after(() => rm(folder, { recursive: true }));
  const [fromVariable, fromSetting] = [join(folder, 'variable'), join(folder, 'setting')];
  await writeFile(fromVariable, 'ghs_variable\n');
  await writeFile(fromSetting, 'ghs_setting\n');
  const token = async (settings: object, environment: Record<string, string>): Promise<string | undefined> => {
    const { at } = await load({ credentials: { 'ghcr.io': { ambient: 'ghcr', ...settings } } }, { environment });
    const found = await at('ghcr.io');
    assert.ok(found?.kind === 'basic' && found.ownRealm === true && found.username !== '');
    return found.password;
  };
  assert.equal(await token({}, { GITHUB_TOKEN: 'ghs_plain' }), 'ghs_plain');
  assert.equal(await token({}, { GITHUB_TOKEN: 'ghs_plain', GITHUB_TOKEN_FILE: fromVariable }), 'ghs_variable');
  assert.equal(await token({ tokenFile: fromSetting }, { GITHUB_TOKEN_FILE: fromVariable }), 'ghs_setting');
  await assert.rejects(token({}, {}), isError('failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE'));
});

/** A registry of which this is the host, and its token service at `realm`; wants a token for each repository. */
const tokenRegistry = (host: string, realm: string) =>
  scriptedHttp(({ url, headers }) => {
    const { host: askedHost, pathname } = new URL(url);
    if (pathname === '/oauth2/exchange') return json({ refresh_token: jwt(10_800) });
    if (askedHost.startsWith('api.ecr.')) return ecrAnswer('token');
    if (url.startsWith(realm)) return json({ access_token: 'registry-token' });
    if (askedHost !== host) throw new Error(`${url} was asked`);
    if (headers['authorization'] === 'Bearer registry-token') return { status: 404 };
    return { status: 401, headers: { 'www-authenticate': `Bearer realm="${realm}",service="${host}",scope="*:*:*"` } };
  });

const everybody: AmbientIdentities = {
  aws: async () => aws,
  azure: async () => ({ token: 'entra-token', lifetimeMs: 3_600_000 }),
  google: async () => ({ token: 'ya29.token', lifetimeMs: 300_000 }),
};
const environment = { GITHUB_TOKEN: 'ghs_token' };
const kinds = [
  ['acr', acrHost, `https://${acrHost}/oauth2/token`],
  ['artifact-registry', garHost, `https://${garHost}/v2/token`],
  ['ghcr', 'ghcr.io', 'https://ghcr.io/token'],
  ['ecr', ecrHost, `https://${ecrHost}/token`],
] as const;

test('each is exchanged at its own registry for a token that reads one repository', async () => {
  for (const [ambient, host, realm] of kinds) {
    const http = tokenRegistry(host, realm);
    const section = { credentials: { [host]: { ambient } } };
    const { credentials } = await load(section, { http, identities: everybody, environment });
    const registry = createRegistry({ http, credentials, plainHttpHosts: [], tries: 1 });
    await assert.rejects(resolve(registry, `${host}/acme/app:v1`), isError('not_found', 'IMAGE_NOT_FOUND'));
    const [exchange, ...others] = http.asked.filter(({ url }) => url.startsWith(realm));
    assert.ok(exchange !== undefined && others.length === 0, ambient);
    const scope = formOf(exchange)['scope'] ?? new URL(exchange.url).searchParams.get('scope');
    assert.equal(scope, 'repository:acme/app:pull', ambient);
    if (ambient === 'acr') assert.equal(formOf(exchange)['grant_type'], 'refresh_token');
    else assert.match(exchange.headers['authorization'] ?? '', /^Basic /);
  }
});

test('whatever the registry names as its token service, the identity is shown to its own origin alone', async () => {
  for (const [ambient, host] of kinds) {
    for (const realm of [
      'https://evil.example/token',
      `https://${host}.evil.example/token`,
      `https://${host}:8443/token`,
      `https://sub.${host}/token`,
    ]) {
      const http = tokenRegistry(host, realm);
      const section = { credentials: { [host]: { ambient } } };
      const { credentials } = await load(section, { http, identities: everybody, environment });
      const registry = createRegistry({ http, credentials, plainHttpHosts: [], tries: 1 });
      await assert.rejects(resolve(registry, `${host}/acme/app:v1`, within(20_000)), (caught) => {
        assert.doesNotMatch(inspected(caught), /ya29|ghs_token|entra-token|secret-of-aws/);
        return isError('failed_precondition', 'AUTH_REALM_REFUSED')(caught);
      });
      assert.deepEqual(
        http.asked.filter(({ url }) => url.startsWith(realm)),
        [],
        `${ambient} ${realm}`,
      );
    }
  }
});

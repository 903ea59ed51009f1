import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { startRegistry } from '../../src/dev/registry.ts';
import type { CountersignError } from '../../src/model/error.ts';
import type { HttpClient, HttpRequest } from '../../src/net/port.ts';
import { createAllowList } from '../../src/registry/allow-list.ts';
import { createAuthenticator } from '../../src/registry/auth.ts';
import type { Credential } from '../../src/registry/credentials/source.ts';
import type { Registry } from '../../src/registry/port.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { checkRealm } from '../../src/registry/realm.ts';
import { createTransport } from '../../src/registry/transport.ts';
import { startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, resolve, within } from './world.ts';

const login = { username: 'robot', password: 'hunter2' } as const;
const basic: Credential = { kind: 'basic', ...login };
const digest = `sha256:${'a'.repeat(64)}` as const;
const type = 'application/vnd.oci.image.index.v1+json';
const image = (registry: string) => ({
  registry,
  repository: 'acme/app',
  descriptor: { mediaType: type, digest, size: 10 },
});

const attach = (registry: Registry, host: string, name: string) =>
  registry.attach(image(host), bundle(name), undefined, within(5_000));

test('basic: the credentials go with every request after the first challenge', async (t) => {
  const server = await startRegistry({ auth: { kind: 'basic', ...login } });
  const registry = clientFor(server.host, basic);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await attach(registry, server.host, 'b1');
  server.requests.length = 0;
  await attach(registry, server.host, 'b2');
  assert.equal(server.requests.length, 2);
});

test('bearer: one exchange serves many concurrent requests, and reading after writing', async (t) => {
  const server = await startRegistry({ auth: { kind: 'bearer', ...login } });
  const registry = clientFor(server.host, basic);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await Promise.all(Array.from({ length: 10 }, (_, index) => attach(registry, server.host, `b${index}`)));
  assert.equal((await registry.attachments(image(server.host), undefined, within(5_000))).length, 10);
  assert.equal(server.requests.filter(({ kind }) => kind === 'token').length, 1);
});

test('bearer: an identity token is exchanged by POST', async (t) => {
  const server = await startRegistry({ auth: { kind: 'bearer', ...login, identityToken: 'refresh-me' } });
  const registry = clientFor(server.host, { kind: 'identity-token', token: 'refresh-me' });
  t.after(() => Promise.all([registry.close(), server.close()]));
  await attach(registry, server.host, 'b1');
  assert.deepEqual(
    server.requests.filter(({ kind }) => kind === 'token'),
    [{ method: 'POST', kind: 'token' }],
  );
});

test('bearer: a token that the registry no longer takes is renewed once', async (t) => {
  const server = await startFaultRegistry({ auth: { kind: 'bearer', ...login } });
  const registry = clientFor(server.host, basic);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await attach(registry, server.host, 'b1');
  const headers = { 'www-authenticate': `Bearer realm="http://${server.host}/token",service="s"` };
  server.script({ path: /uploads/, times: 1, fault: { kind: 'answer', status: 401, headers } });
  await attach(registry, server.host, 'b2');
  assert.equal(server.requests.filter(({ kind }) => kind === 'token').length, 2);
});

test('bearer: tokens with odd lifetimes do not loop', async (t) => {
  for (const expires of ['0', '-5', '1e99']) {
    const server = await startFaultRegistry({ auth: { kind: 'bearer', ...login } });
    const registry = clientFor(server.host, basic);
    t.after(() => Promise.all([registry.close(), server.close()]));
    server.script({ path: /^\/token/, fault: { kind: 'body', body: `{"token":"t","expires_in":${expires}}` } });
    await assert.rejects(attach(registry, server.host, 'b1'), isError('failed_precondition', 'REGISTRY_ACCESS_DENIED'));
    assert(server.seen.length <= 10, `${server.seen.length} requests`);
  }
});

test('wrong or missing credentials are told as such, without a secret', async (t) => {
  for (const kind of ['basic', 'bearer'] as const) {
    const server = await startRegistry({ auth: { kind, ...login } });
    t.after(() => server.close());
    for (const credential of [undefined, { kind: 'basic', username: 'robot', password: 's3cret-wrong' } as const]) {
      const registry = clientFor(server.host, credential);
      t.after(() => registry.close());
      await assert.rejects(attach(registry, server.host, 'b1'), (error: CountersignError) => {
        assert(!JSON.stringify([error.message, error.metadata, String(error.cause)]).includes('s3cret'));
        return isError('failed_precondition', 'REGISTRY_ACCESS_DENIED')(error);
      });
    }
  }
});

test('bad challenges and token services are typed errors and get no credentials', async (t) => {
  const cases: [challenge: string, reason: string][] = [
    ['Bearer realm="unterminated', 'AUTH_CHALLENGE_INVALID'],
    ['Bearer service="s"', 'AUTH_CHALLENGE_INVALID'],
    ['Negotiate', 'AUTH_CHALLENGE_INVALID'],
    ['Bearer realm="/token"', 'AUTH_REALM_REFUSED'],
    ['Bearer realm="http://auth.example/token"', 'AUTH_REALM_REFUSED'],
    ['Bearer realm="ftp://127.0.0.1/token"', 'AUTH_REALM_REFUSED'],
    ['Bearer realm="https://169.254.169.254/token"', 'AUTH_REALM_REFUSED'],
    ['Bearer realm="https://10.0.0.1/token"', 'AUTH_REALM_REFUSED'],
    ['Bearer realm="https://user:pw@auth.example/token"', 'AUTH_REALM_REFUSED'],
  ];
  const server = await startFaultRegistry();
  t.after(() => server.close());
  for (const [challenge, reason] of cases) {
    const registry = clientFor(server.host, basic);
    t.after(() => registry.close());
    server.script({
      path: /./,
      fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } },
    });
    await assert.rejects(attach(registry, server.host, 'b1'), isError('failed_precondition', reason), challenge);
  }
  assert(server.seen.every(({ authorization }) => authorization === undefined));
});

test('realms: another class of address than the registry is refused', () => {
  const registry = new URL('https://registry.example/v2/');
  for (const realm of [
    'https://127.0.0.1/t',
    'https://localhost/t',
    'https://auth.localhost/t',
    'https://[::1]/t',
    'https://0.0.0.0/t',
    'https://[::]/t',
    'https://2130706433/t',
    'https://0x7f.1/t',
    'https://[::ffff:127.0.0.1]/t',
    'https://192.168.1.1/t',
    'https://100.64.0.1/t',
    'https://[fd00::1]/t',
    'https://[fe80::1]/t',
    'https://[64:ff9b::7f00:1]/t',
    'https://[2002:7f00:1::]/t',
  ]) {
    assert.throws(() => checkRealm(realm, registry, []), isError('failed_precondition', 'AUTH_REALM_REFUSED'), realm);
  }
  assert.equal(checkRealm('https://auth.example/t', registry, []).host, 'auth.example');
  assert.equal(checkRealm('https://8.8.8.8/t', registry, []).host, '8.8.8.8');
  const loopback = new URL('http://127.0.0.1:5000/v2/');
  assert.equal(checkRealm('http://127.0.0.1:5001/t', loopback, ['127.0.0.1']).port, '5001');
});

test('realms: never from https to http, and at a private address only where that is listed', () => {
  const registry = new URL('https://registry.example/v2/');
  const refused = isError('failed_precondition', 'AUTH_REALM_REFUSED');
  assert.throws(() => checkRealm('http://auth.example/t', registry, ['auth.example']), refused);
  assert.equal(checkRealm('https://10.0.0.1/t', registry, [], ['10.0.0.0/8']).host, '10.0.0.1');
  assert.throws(() => checkRealm('https://10.0.0.1/t', registry, [], ['192.168.0.0/16', 'auth.example']), refused);
  assert.throws(() => checkRealm('https://169.254.169.254/t', registry, [], ['169.254.0.0/16']), refused);
});

test('credentials go to the origin of the registry and to no other, whatever URL is asked', async () => {
  const asked: string[] = [];
  const http: HttpClient = {
    request: async (request) => {
      const { authorization } = request.headers;
      asked.push(`${new URL(request.url).origin} ${authorization === undefined ? 'without' : 'with'}`);
      const status = authorization === undefined ? 401 : 200;
      return { status, headers: { 'www-authenticate': 'Basic' }, body: Buffer.alloc(0), url: request.url };
    },
    close: async () => {},
  };
  const options = { http, credentials: () => basic, plainHttpHosts: [], tries: 1 };
  const transport = createTransport({
    ...options,
    authenticator: createAuthenticator(options),
    allowList: createAllowList(undefined),
  });
  const target = { registry: 'registry.example', repository: 'acme/app' };
  const at = async (url: string) =>
    (await transport.send(target, 'pull', { method: 'GET', url, maxBytes: 0 }, within(1_000))).status;
  assert.equal(await at('https://registry.example/v2/next'), 200);
  asked.splice(0);
  for (const url of ['https://evil.example/v2/', 'https://registry.example:8443/v2/', 'http://registry.example/v2/']) {
    assert.equal(await at(url), 401);
  }
  assert.deepEqual(asked.splice(0), [
    'https://evil.example without',
    'https://registry.example:8443 without',
    'http://registry.example without',
  ]);
});

test('a token service that redirects, floods, or answers nonsense', async (t) => {
  const server = await startFaultRegistry({ auth: { kind: 'bearer', ...login } });
  t.after(() => server.close());
  const foreign: string[] = [];
  const thief = createServer((request, response) => {
    foreign.push(request.headers.authorization ?? '');
    response.end();
  });
  await new Promise<void>((done) => thief.listen(0, '127.0.0.1', done));
  t.after(() => thief.close());
  const location = `http://127.0.0.1:${(thief.address() as AddressInfo).port}/`;
  const faults = [
    [{ kind: 'answer', status: 307, headers: { location } }, 'failed_precondition', 'REGISTRY_ACCESS_DENIED'],
    [{ kind: 'flood', bytes: 100_000_000 }, 'unavailable', 'RESPONSE_TOO_LARGE'],
    [{ kind: 'body', body: 'nonsense' }, 'unavailable', 'TOKEN_RESPONSE_INVALID'],
    [{ kind: 'body', body: '{"token":""}' }, 'unavailable', 'TOKEN_RESPONSE_INVALID'],
    [{ kind: 'body', body: '{"token":"a\\r\\nb: c"}' }, 'unavailable', 'TOKEN_RESPONSE_INVALID'],
    [{ kind: 'body', body: '{"token":{"a":1}}' }, 'unavailable', 'TOKEN_RESPONSE_INVALID'],
    [{ kind: 'answer', status: 503 }, 'unavailable', 'REGISTRY_UNAVAILABLE'],
    [{ kind: 'answer', status: 429, headers: { 'retry-after': '86400' } }, 'resource_exhausted', 'REGISTRY_THROTTLED'],
    [{ kind: 'reset' }, 'unavailable', 'CONNECTION_RESET'],
  ] as const;
  for (const [fault, code, reason] of faults) {
    const registry = clientFor(server.host, basic, 1);
    t.after(() => registry.close());
    server.script({ path: /^\/token/, fault });
    await assert.rejects(attach(registry, server.host, 'b1'), isError(code, reason), reason);
  }
  assert.deepEqual(foreign, []);
});

test('one waiter that leaves does not take the token from the others', async (t) => {
  const server = await startFaultRegistry({ auth: { kind: 'bearer', ...login } });
  const registry = clientFor(server.host, basic);
  t.after(() => Promise.all([registry.close(), server.close()]));
  server.script({ path: /^\/token/, fault: { kind: 'delay', ms: 400 } });
  const hasty = registry.attach(image(server.host), bundle('b1'), undefined, within(200));
  const patient = registry.attach(image(server.host), bundle('b2'), undefined, within(5_000));
  await assert.rejects(hasty, isError('deadline_exceeded'));
  assert.equal((await patient).by, 'referrer');
  assert.equal(server.requests.filter(({ kind }) => kind === 'token').length, 1);
});

test('the scope asked for is what is needed, whatever the challenge says; Docker Hub is asked at its API host', async () => {
  const asked: HttpRequest[] = [];
  const http: HttpClient = {
    request: async (request) => {
      asked.push(request);
      const challenge =
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="registry:catalog:*"';
      const isToken = request.url.startsWith('https://auth.docker.io/');
      const status = isToken ? 200 : request.headers['authorization'] === 'Bearer t' ? 404 : 401;
      const headers = status === 401 ? { 'www-authenticate': challenge } : {};
      return { status, headers, body: Buffer.from(isToken ? '{"access_token":"t"}' : ''), url: request.url };
    },
    close: async () => {},
  };
  const registry = createRegistry({ http, credentials: () => undefined, plainHttpHosts: [], tries: 1 });
  await assert.rejects(resolve(registry, 'nginx:latest'), isError('not_found', 'IMAGE_NOT_FOUND'));
  assert.deepEqual(
    asked.map(({ url }) => url),
    [
      'https://registry-1.docker.io/v2/library/nginx/manifests/latest',
      'https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Alibrary%2Fnginx%3Apull',
      'https://registry-1.docker.io/v2/library/nginx/manifests/latest',
    ],
  );
});

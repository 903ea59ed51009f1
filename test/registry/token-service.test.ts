// What is remembered of token services, and who waits for them.
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { createAuthenticator } from '../../src/registry/auth.ts';
import { credentialError } from '../../src/registry/credentials/errors.ts';
import type { Fault, Rule } from './fault-registry.ts';
import { startFaultRegistry } from './fault-registry.ts';
import { clientFor, isError, resolve, within } from './world.ts';

const answer = (status: number, body: string): Fault => ({ kind: 'answer', status, body });
const good = answer(200, '{"token":"t","expires_in":300}');
const brief = answer(200, '{"token":"t","expires_in":0}');

/** An image behind a registry that wants the token `t`, and names the token service `at`. */
const start = async (t: TestContext) => {
  const server = await startFaultRegistry();
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const wants = (at: string): Rule => ({
    path: /^\/v2\//,
    when: ({ headers }) => headers.authorization !== 'Bearer t',
    fault: {
      kind: 'answer',
      status: 401,
      headers: { 'www-authenticate': `Bearer realm="http://${server.host}${at}",service="s"` },
    },
  });
  return {
    server,
    wants,
    image: (ms: number) => resolve(registry, `${server.host}/acme/app:v1`, within(ms)),
    asked: (path: string) => server.seen.filter(({ url }) => url.startsWith(path)).length,
  };
};

const failures: readonly (readonly [string, Fault])[] = [
  ['refuses', answer(403, '')],
  ['is down', answer(503, '')],
  ['is throttled for a day', { kind: 'answer', status: 429, headers: { 'retry-after': '86400' } }],
  ['answers nonsense', answer(200, 'nonsense')],
  ['redirects', { kind: 'answer', status: 307, headers: { location: '/elsewhere' } }],
  ['resets the connection', { kind: 'reset' }],
];

for (const [what, fault] of failures) {
  test(`a token service that ${what} is not held on to: the registry names another, and that is asked`, async (t) => {
    const { server, wants, image, asked } = await start(t);
    server.script(wants('/broken'), { path: /^\/broken/, fault });
    await assert.rejects(image(20_000));
    const before = asked('/broken');
    server.script(wants('/repaired'), { path: /^\/broken/, fault }, { path: /^\/repaired/, fault: good });
    await image(20_000);
    assert.equal(asked('/broken'), before);
  });

  test(`a token service that worked and now ${what}: the registry is asked anew in the same request`, async (t) => {
    const { server, wants, image } = await start(t);
    server.script(wants('/old'), { path: /^\/old/, fault: brief });
    await image(20_000);
    server.script(wants('/new'), { path: /^\/old/, fault }, { path: /^\/new/, fault: good });
    await image(20_000);
  });
}

test('a token service that hangs: who comes after those who gave up asks it again', async (t) => {
  const { server, wants, image, asked } = await start(t);
  server.script(
    wants('/token'),
    { path: /^\/token/, times: 1, fault: { kind: 'hang' } },
    { path: /^\/token/, fault: good },
  );
  await assert.rejects(image(500), isError('deadline_exceeded'));
  // Less than what the HTTP client waits for the first one.
  await image(3_500);
  assert.equal(asked('/token'), 2);
});

test('a token service that hangs: who comes later does not wait for it, and frees those who do', async (t) => {
  const { server, wants, image, asked } = await start(t);
  server.script(
    wants('/token'),
    { path: /^\/token/, times: 1, fault: { kind: 'hang' } },
    { path: /^\/token/, fault: good },
  );
  let answered = false;
  const first = image(60_000).then(() => {
    answered = true;
  });
  const started = performance.now();
  while (!answered && performance.now() - started < 12_000) {
    await image(500).catch(isError('deadline_exceeded'));
  }
  assert.ok(answered, 'before the exchange timed out');
  await first;
  assert.equal(asked('/token'), 2);
});

const bearer = 'Bearer realm="https://auth.example/token",service="s"';
const target = { registry: 'registry.example', repository: 'acme/app' };

test('an exchange that does not end in its own time is no deadline of the request', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const { request, called } = hanging();
    const authenticator = createAuthenticator({
      http: { request, close: async () => {} },
      credentials: () => undefined,
      plainHttpHosts: [],
    });
    const asked = authenticator.answer(target, 'pull', bearer, undefined, within(60_000));
    await called;
    mock.timers.tick(15_000);
    await assert.rejects(asked, isError('unavailable', 'RESPONSE_TIMEOUT'));
    assert.equal(await authenticator.known(target, 'pull', within(60_000)), undefined);
  } finally {
    mock.timers.reset();
  }
});

test('credentials that cannot be had are told as that, and nothing is asked without them', async () => {
  let fails = false;
  const authenticator = createAuthenticator({
    http: {
      request: async ({ url }) => ({
        status: 200,
        headers: {},
        body: Buffer.from('{"token":"t","expires_in":0}'),
        url,
      }),
      close: async () => {},
    },
    credentials: () => {
      if (fails) throw credentialError('CREDENTIAL_HELPER_FAILED', target.registry, 'it failed', { passes: true });
      return undefined;
    },
    plainHttpHosts: [],
  });
  assert.equal(await authenticator.answer(target, 'pull', bearer, undefined, within(20_000)), 'Bearer t');
  fails = true;
  const failed = isError('unavailable', 'CREDENTIAL_HELPER_FAILED');
  await assert.rejects(authenticator.known(target, 'pull', within(20_000)), failed);
  fails = false;
  assert.equal(await authenticator.known(target, 'pull', within(20_000)), 'Bearer t');
});

const hanging = () => {
  const { promise: called, resolve: call } = Promise.withResolvers<void>();
  return {
    called,
    request: (): Promise<never> => {
      call();
      return Promise.withResolvers<never>().promise;
    },
  };
};

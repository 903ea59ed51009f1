import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { authenticate } from '../../src/callers/authenticate.ts';
import { createOidcCallers } from '../../src/callers/oidc.ts';
import { callerSettings, plainTextHosts } from '../../src/callers/settings.ts';
import { githubClaims, type Issuer, startIssuer } from '../../src/dev/issuer.ts';
import type { Caller } from '../../src/model/caller.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';

const closers: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closers) await close();
});

/** Callers of a running issuer, with clocks that the test turns. */
const world = async (settings: Readonly<Record<string, unknown>> = {}) => {
  const issuer = await startIssuer({ audience: 'us' });
  const parsed = callerSettings.parse({
    oidc: [{ issuer: issuer.issuer, audience: 'us', allowPlainText: true, ...settings }],
  });
  const http = createHttpClient({ plainHttpHosts: plainTextHosts(parsed) });
  closers.push(
    () => issuer.close(),
    () => http.close(),
  );
  const time = { ahead: 0 };
  const callers = createOidcCallers(parsed, {
    http,
    clock: () => Date.now() + time.ahead,
    monotonic: () => performance.now() + time.ahead,
  });
  const identify = (bearer: string, timeout = 4000): Promise<Caller> =>
    authenticate([callers], { bearer }, openContext('test', timeout).context);
  return { issuer, callers, identify, time };
};

const refusal = async (attempt: Promise<unknown>): Promise<CountersignError> => {
  const outcome = await attempt.then(
    () => assert.fail('accepted'),
    (error: unknown) => error,
  );
  assert.ok(outcome instanceof CountersignError, String(outcome));
  return outcome;
};
const fetches = (issuer: Issuer): number => issuer.requests.filter((line) => line === 'GET /jwks').length;

test('a token is verified by discovery and JWK set, both algorithms, and its claims arrive whole', async () => {
  const { issuer, identify } = await world();
  const claims = githubClaims({ ref: 'refs/tags/v1.2.3' });
  for (const algorithm of ['RS256', 'ES256'] as const) {
    const caller = await identify(await issuer.mint(claims, { algorithm }));
    assert.equal(caller.kind, 'oidc');
    assert.equal(caller.issuer, issuer.issuer);
    assert.equal(caller.subject, 'repo:acme/app:ref:refs/tags/v1.2.3');
    for (const [name, value] of Object.entries(claims)) assert.equal(caller.claims[name], value, name);
    assert.ok(caller.expiresAt > Date.now() / 1000);
  }
  assert.deepEqual(issuer.requests, ['GET /.well-known/openid-configuration', 'GET /jwks']);
});

test('no credentials: unauthenticated, and what to send', async () => {
  const { callers } = await world();
  const error = await refusal(authenticate([callers], { bearer: undefined }, openContext('test', 1000).context));
  assert.equal(`${error.code} ${error.reason}`, 'unauthenticated TOKEN_MISSING');
  assert.match(error.message, /authorization: Bearer/);
});

test('a hundred requests at once with a cold cache cause one fetch, and equal tokens give the same caller', async () => {
  const { issuer, identify } = await world();
  const token = await issuer.mint(githubClaims());
  const callers = await Promise.all(Array.from({ length: 100 }, () => identify(token)));
  assert.equal(fetches(issuer), 1);
  assert.equal(await identify(token), await identify(token));
  assert.equal(new Set(callers.map((caller) => caller.subject)).size, 1);
});

test('a verified token is refused from the cache once it has expired or grown too old', async () => {
  const { issuer, identify, time } = await world({ clockToleranceSeconds: 0, maxAgeSeconds: 120 });
  const short = await issuer.mint(githubClaims(), { expiresIn: 60 });
  const long = await issuer.mint(githubClaims(), { expiresIn: 600 });
  await identify(short);
  await identify(long);
  time.ahead = 61_000;
  assert.equal((await refusal(identify(short))).reason, 'TOKEN_EXPIRED');
  await identify(long);
  time.ahead = 125_000;
  assert.equal((await refusal(identify(long))).reason, 'TOKEN_TOO_OLD');
});

test('rotation: a new key works at once, the old one is refused, also for tokens in the cache', async () => {
  const { issuer, identify } = await world();
  const old = await issuer.mint(githubClaims());
  await identify(old);
  await issuer.rotate();
  await identify(await issuer.mint(githubClaims()));
  assert.equal(fetches(issuer), 2);
  assert.equal((await refusal(identify(old))).reason, 'KEY_UNKNOWN');
  const late = await issuer.mint(githubClaims(), { keys: 'retired' });
  assert.equal((await refusal(identify(late))).reason, 'KEY_UNKNOWN');
});

test('two rotations within the cooldown are followed; after that unknown keys cost one fetch in five seconds', async () => {
  const { issuer, identify, time } = await world();
  await identify(await issuer.mint(githubClaims()));
  await issuer.rotate();
  await identify(await issuer.mint(githubClaims()));
  await issuer.rotate();
  await identify(await issuer.mint(githubClaims()));
  const before = fetches(issuer);
  for (let index = 0; index < 50; index++) {
    const error = await refusal(
      identify(await issuer.mint(githubClaims(), { algorithm: 'ES256', header: { kid: `unknown-${index}` } })),
    );
    assert.equal(error.reason, 'KEY_UNKNOWN');
    assert.ok((error.retryAfterMs ?? 0) > 0);
  }
  assert.ok(fetches(issuer) - before <= 1, `${fetches(issuer) - before} fetches for 50 unknown keys`);
  time.ahead = 6_000;
  await issuer.rotate();
  await identify(await issuer.mint(githubClaims()));
});

test('cold cache and a sick issuer: unavailable with a delay, never unauthenticated', async () => {
  for (const fault of ['down', 'error', 'redirect', 'huge'] as const) {
    const { issuer, identify, time } = await world();
    const token = await issuer.mint(githubClaims());
    issuer.fault(fault);
    const error = await refusal(identify(token));
    assert.equal(`${error.code} ${error.reason}`, 'unavailable ISSUER_UNAVAILABLE', fault);
    assert.ok((error.retryAfterMs ?? 0) > 0 && (error.retryAfterMs ?? 0) <= 5000, fault);
    const asked = issuer.requests.length;
    assert.equal(asked, 1, `${fault}: no redirect is followed`);
    await refusal(identify(token));
    assert.equal(issuer.requests.length, asked, `${fault}: it is not asked again within the cooldown`);
    issuer.fault('none');
    time.ahead = 5_001;
    assert.equal((await identify(token)).subject, 'repo:acme/app:ref:refs/heads/main');
  }
});

test('an issuer that hangs: the request ends at its own deadline', async () => {
  const { issuer, identify } = await world();
  issuer.fault('hang');
  const started = performance.now();
  const error = await refusal(identify(await issuer.mint(githubClaims()), 150));
  assert.equal(error.code, 'deadline_exceeded');
  assert.ok(performance.now() - started < 2000);
});

test('one caller giving up does not end the fetch that others wait for', async () => {
  const { issuer, identify } = await world();
  const token = await issuer.mint(githubClaims());
  issuer.fault('slow', 100);
  const hasty = refusal(identify(token, 20));
  const patient = identify(token);
  assert.equal((await hasty).code, 'deadline_exceeded');
  assert.ok(await patient);
  assert.equal(fetches(issuer), 1);
});

test('warm cache and the issuer down: served for 24 hours, then unavailable', async () => {
  const { issuer, identify, time } = await world({ maxAgeSeconds: 86_400, maxLifetimeSeconds: 86_400 });
  const early = await issuer.mint(githubClaims());
  await identify(early);
  issuer.fault('down');
  time.ahead = 23 * 3_600_000;
  const mint = () => {
    const now = Math.floor((Date.now() + time.ahead) / 1000);
    return issuer.mint({ ...githubClaims(), iat: now, nbf: now, exp: now + 300 });
  };
  const token = await mint();
  assert.ok(await identify(token));
  time.ahead = 24 * 3_600_000 + 60_000;
  assert.equal((await refusal(identify(await mint()))).reason, 'ISSUER_UNAVAILABLE');
  time.ahead += 6_000;
  issuer.fault('none');
  assert.ok(await identify(await mint()));
});

test('warm fetches every issuer and names those that failed', async () => {
  const { issuer, callers, identify } = await world();
  issuer.fault('error');
  const context = openContext('warm', 2000).context;
  const [failed] = await callers.warm(context);
  assert.equal(failed?.issuer, issuer.issuer);
  const { issuer: healthy, callers: warmed, identify: identifyWarm } = await world();
  assert.deepEqual(await warmed.warm(context), []);
  healthy.fault('down');
  assert.ok(await identifyWarm(await healthy.mint(githubClaims())));
  assert.equal((await refusal(identify(await issuer.mint(githubClaims())))).code, 'unavailable');
});

test('discovery: another issuer, another host and another scheme are refused', async () => {
  let document: unknown = {};
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end(JSON.stringify(document));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const base = `http://127.0.0.1:${port}`;
  const bad: unknown[] = [
    { issuer: `${base}/`, jwks_uri: `${base}/jwks` },
    { issuer: [base], jwks_uri: `${base}/jwks` },
    { jwks_uri: `${base}/jwks` },
    { issuer: base },
    { issuer: base, jwks_uri: 'not a url' },
    { issuer: base, jwks_uri: `http://127.0.0.2:${port}/jwks` },
    { issuer: base, jwks_uri: `http://localhost:${port}/jwks` },
    { issuer: base, jwks_uri: `http://169.254.169.254/latest` },
    { issuer: base, jwks_uri: `https://127.0.0.1:${port}/jwks` },
    { issuer: base, jwks_uri: `http://a@127.0.0.1:${port}/jwks` },
    { issuer: base, jwks_uri: 'file:///etc/passwd' },
    [base],
  ];
  const minter = await startIssuer({ audience: 'us' });
  closers.push(() => minter.close());
  const token = await minter.mint({ ...githubClaims(), iss: base });
  for (document of bad) {
    const parsed = callerSettings.parse({ oidc: [{ issuer: base, audience: 'us', allowPlainText: true }] });
    const http = createHttpClient({ plainHttpHosts: ['127.0.0.1', 'localhost', '127.0.0.2', '169.254.169.254'] });
    const callers = createOidcCallers(parsed, { http });
    const error = await refusal(callers.identify({ bearer: token }, openContext('test', 2000).context));
    assert.equal(error.reason, 'ISSUER_UNAVAILABLE', JSON.stringify(document));
    await http.close();
  }
  assert.deepEqual(new Set(asked), new Set(['/.well-known/openid-configuration']));
});

test('keys at a pinned address need no discovery', async () => {
  const minter = await startIssuer({ audience: 'us' });
  closers.push(() => minter.close());
  const parsed = callerSettings.parse({
    oidc: [
      {
        issuer: 'https://elsewhere.example',
        audience: 'us',
        allowPlainText: true,
        jwks: { url: `${minter.issuer}/jwks` },
      },
    ],
  });
  const http = createHttpClient({ plainHttpHosts: plainTextHosts(parsed) });
  closers.push(() => http.close());
  const token = await minter.mint({ ...githubClaims(), iss: 'https://elsewhere.example' });
  const caller = await createOidcCallers(parsed, { http }).identify(
    { bearer: token },
    openContext('test', 2000).context,
  );
  assert.equal(caller?.issuer, 'https://elsewhere.example');
  assert.deepEqual(minter.requests, ['GET /jwks']);
});

// Challenges, token services, and where credentials may go.
import assert from 'node:assert/strict';
import {
  answer,
  anonymous,
  bearer,
  challenged,
  countOf,
  denied,
  egress,
  type FaultCase,
  late,
  paths,
  type Refusal,
  refused,
  tokenAnswer,
  tokenService,
  tooLarge,
} from './fault-case.ts';
import type { Fault } from './fault-registry.ts';

const invalid = refused('failed_precondition', 'AUTH_CHALLENGE_INVALID');
const realmRefused = refused('failed_precondition', 'AUTH_REALM_REFUSED');

const accepted = (name: string, challenge: string): FaultCase => ({
  name: `401: ${name}`,
  rules: (world) => [challenged(world, challenge), tokenService],
  expected: 'signed',
  check: (world) => assert.equal(countOf(world, 'GET', /^\/token/), 2, 'one exchange to pull, one to push'),
});
/** Nothing is sent to a token service, and no credentials anywhere. */
const rejected = (name: string, challenge: string, expected: Refusal, tls = false): FaultCase => ({
  name: `401: ${name}`,
  tls,
  rules: (world) => [
    challenged(world, challenge.replaceAll('{stranger}', world.stranger.origin.replace('http:', 'https:'))),
    tokenService,
  ],
  expected,
  check: (world) => assert.ok(world.registry.seen.every(({ authorization }) => authorization === undefined)),
});

export const challenges: readonly FaultCase[] = [
  {
    name: '401: Basic',
    rules: (world) => [challenged(world, 'Basic realm="r"', anonymous)],
    expected: 'signed',
  },
  accepted('Bearer', bearer),
  accepted('Basic and Bearer', `Basic realm="r", ${bearer}`),
  accepted('Bearer and Basic', `${bearer}, Basic realm="r"`),
  accepted('Negotiate first', `Negotiate, ${bearer}`),
  accepted('Negotiate with a blob first', `Negotiate YIIKlQYGKwYBBQUCoA==, ${bearer}`),
  {
    ...accepted('Basic and Bearer, a header each', bearer),
    rules: (world) => {
      const rule = challenged(world, bearer);
      const own = 'headers' in rule.fault ? rule.fault.headers : {};
      const challenge = String((own as { readonly 'www-authenticate': string })['www-authenticate']);
      return [{ ...rule, fault: answer(401, { 'www-authenticate': ['Basic realm="r"', challenge] }) }, tokenService];
    },
  },
  {
    ...accepted('a scope wider than what is asked', `${bearer},scope="repository:acme/app:* registry:catalog:*"`),
    check: (world) => {
      const scopes = world.registry.seen
        .filter(({ url }) => url.startsWith('/token'))
        .map(({ url }) => new URL(url, 'http://x').searchParams.getAll('scope'));
      assert.deepEqual(scopes.flat().sort(), ['repository:acme/app:pull', 'repository:acme/app:pull,push']);
    },
  },
  rejected('no challenge at all', '', invalid),
  rejected('Negotiate alone', 'Negotiate', invalid),
  rejected('an unterminated quote', 'Bearer realm="{origin}/token', invalid),
  rejected('Bearer without realm', 'Bearer service="registry"', invalid),
  rejected('the realm twice', 'Bearer realm="{origin}/token",realm="{stranger}/token"', invalid),
  rejected('a challenge of 10,000 characters', `Bearer realm="{origin}/${'x'.repeat(10_000)}"`, invalid),
  rejected('a relative realm', 'Bearer realm="/token"', realmRefused),
  rejected('a realm with a user name', 'Bearer realm="https://me:secret@{origin}/token"', realmRefused),
  rejected('a realm that is a file', 'Bearer realm="file:///etc/passwd"', realmRefused),
  rejected('an http realm of an https registry', 'Bearer realm="http://127.0.0.1/token"', realmRefused, true),
  rejected('a realm at the metadata service', 'Bearer realm="https://169.254.169.254/token"', realmRefused),
  rejected('a realm at 0.0.0.0', 'Bearer realm="https://0.0.0.0/token"', realmRefused),
  rejected('a realm at [::]', 'Bearer realm="https://[::]/token"', realmRefused),
  rejected('a realm at a private address', 'Bearer realm="https://10.0.0.1/token"', realmRefused),
  rejected('a realm at a CGNAT address', 'Bearer realm="https://100.64.0.1/token"', realmRefused),
  rejected('a realm behind NAT64', 'Bearer realm="https://[64:ff9b::7f00:1]/token"', realmRefused),
  rejected('a realm at an IPv4-mapped address', 'Bearer realm="https://[::ffff:169.254.169.254]/token"', realmRefused),
  rejected('a realm at a link-local address', 'Bearer realm="https://[fe80::1]/token"', realmRefused),
  rejected('a realm at a unique local address', 'Bearer realm="https://[fd00::1]/token"', realmRefused),
  rejected('a realm with a fragment', 'Bearer realm="{origin}/token#x"', realmRefused),
  rejected('a realm in 6to4', 'Bearer realm="https://[2002:7f00:1::]/token"', realmRefused),
  // The registry of these tests is at a loopback address itself, but it alone is named.
  rejected('a realm at another loopback address', 'Bearer realm="{stranger}/token"', egress),
  rejected('a realm at loopback, as a number', 'Bearer realm="https://2130706434/token"', egress),
  rejected('a realm at loopback, by name', 'Bearer realm="https://localhost:1/token"', egress),
  {
    name: '401 for good, whatever the token',
    rules: (world) => [challenged(world, bearer, () => true), tokenService],
    expected: denied,
    check: (world) => assert.ok(countOf(world, 'GET', /^\/token/) <= 2),
  },
  {
    name: '401 for good, Basic',
    rules: (world) => [challenged(world, 'Basic realm="r"', () => true)],
    expected: denied,
    check: (world) => assert.ok(world.registry.seen.length <= 4, JSON.stringify(world.registry.seen)),
  },
  {
    name: '401 for pushing only, which begins after the signing',
    rules: (world) => {
      const rule = challenged(world, bearer);
      return [
        {
          ...rule,
          when: (request) => request.method !== 'GET' && request.method !== 'HEAD' && rule.when?.(request) === true,
        },
        tokenService,
      ];
    },
    expected: 'signed',
  },
  {
    name: '401 with another realm at each request: one exchange for each, and an end',
    rules: (world) => [
      {
        ...paths.anything,
        fault: {
          kind: 'answer',
          status: 401,
          headers: () => ({
            'www-authenticate': `Bearer realm="http://${world.host}/token/${Math.random()}",service="registry"`,
          }),
        },
      },
      tokenService,
    ],
    expected: denied,
    check: (world) => assert.ok(world.registry.seen.length <= 12, `${world.registry.seen.length}`),
  },
];

const notAToken = refused('unavailable', 'TOKEN_RESPONSE_INVALID');
const tokens = (
  name: string,
  fault: Fault,
  expected: FaultCase['expected'],
  more: Partial<FaultCase> = {},
): FaultCase => ({
  name: `token service: ${name}`,
  rules: (world) => [challenged(world, bearer), { ...paths.token, fault }],
  expected,
  ...more,
});
const said = (body: string): Fault => answer(200, {}, body);
const token = 'token-of-the-fault-table';

export const tokenServices: readonly FaultCase[] = [
  tokens('100 MB', { kind: 'flood', bytes: 100_000_000 }, tooLarge),
  tokens('100 MB with an error', { kind: 'flood', bytes: 100_000_000, status: 401 }, tooLarge),
  tokens('text', said('here you are'), notAToken),
  tokens('a list', said('["t"]'), notAToken),
  tokens('null', said('null'), notAToken),
  tokens('no token', said('{"expires_in":60}'), notAToken),
  tokens('an empty token', said('{"token":""}'), notAToken),
  tokens('a token that is a number', said('{"token":1}'), notAToken),
  tokens('a token with line ends', said('{"token":"a\\r\\nx-evil: 1"}'), notAToken),
  tokens('not UTF-8', { kind: 'answer', status: 200, body: Buffer.from('{"token":"\xff"}', 'latin1') }, notAToken),
  tokens('expires_in is text', said(`{"token":"${token}","expires_in":"300"}`), notAToken),
  ...([0, -1, -1e300] as const).map((expires) =>
    tokens(`expires_in ${expires}: no loop`, said(`{"token":"${token}","expires_in":${expires}}`), 'signed', {
      check: (world) => {
        const exchanges = countOf(world, 'GET', /^\/token/);
        assert.ok(exchanges <= world.registry.seen.length / 2, `${exchanges} of ${world.registry.seen.length}`);
      },
    }),
  ),
  tokens('expires_in 1e300', said(`{"token":"${token}","expires_in":1e300}`), 'signed'),
  tokens('access_token alone', said(`{"access_token":"${token}"}`), 'signed'),
  tokens('both, and token wins', said(`{"token":"${token}","access_token":"wrong"}`), 'signed'),
  tokens('an empty token beside access_token', said(`{"token":"","access_token":"${token}"}`), 'signed'),
  tokens('500', answer(500), refused('unavailable', 'REGISTRY_UNAVAILABLE', 1, 1_000)),
  tokens(
    '429 for a day',
    answer(429, { 'retry-after': '86400' }),
    refused('resource_exhausted', 'REGISTRY_THROTTLED', 86_400_000),
  ),
  tokens('403', answer(403), denied),
  tokens('no answer', { kind: 'hang' }, late, { deadlineMs: 1_500 }),
  tokens('half an answer', { kind: 'stall' }, late, { deadlineMs: 1_500 }),
  tokens('a byte at a time', { kind: 'drip' }, late, { deadlineMs: 1_500 }),
  tokens('reset', { kind: 'reset' }, refused('unavailable', 'CONNECTION_RESET', 1, 1_000)),
  ...(['stranger', 'other'] as const).map(
    (where): FaultCase => ({
      name: `token service: redirects to ${where === 'other' ? 'another host that is named' : 'a host that nobody named'}`,
      rules: (world) => [
        challenged(world, bearer),
        { ...paths.token, fault: answer(307, { location: `${world[where].origin}/token` }, tokenAnswer) },
      ],
      expected: denied,
      check: (world) => assert.equal(world[where].connections(), 0),
    }),
  ),
  {
    name: 'token service: redirects to itself',
    rules: (world) => [challenged(world, bearer), { ...paths.token, fault: answer(302, { location: '/token' }) }],
    expected: denied,
    check: (world) => assert.ok(countOf(world, 'GET', /^\/token/) <= 2),
  },
];

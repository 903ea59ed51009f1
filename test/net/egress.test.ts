import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { privateEntryProblem } from '../../src/net/address.ts';
import { assertAddressAllowed, assertAllowed, type EgressPolicy } from '../../src/net/egress.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http.ts';
import type { Resolver } from '../../src/net/lookup.ts';
import { selfSigned } from '../certificates.ts';
import { fakeResolver, watchAttempts } from './egress-world.ts';

const within = (ms: number) => openContext('test', ms).context;
const get = (url: string) => ({ method: 'GET', url, headers: {}, maxBytes: 1_000 }) as const;

const serve = async (t: TestContext, listener: RequestListener): Promise<number> => {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
};

const open = (t: TestContext, options: HttpClientOptions) => {
  const client = createHttpClient(options);
  t.after(() => client.close());
  return client;
};

const isDenied = (error: unknown): boolean => {
  assert(error instanceof CountersignError, String(error));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'EGRESS_DENIED'], error.message);
  return true;
};

const isAllowed = (run: () => void): boolean => {
  try {
    run();
    return true;
  } catch (error) {
    return !isDenied(error);
  }
};

const nobody = { plainHttpHosts: [], named: () => false };
const named = { plainHttpHosts: [], named: (host: string) => host === 'a.example' || host === 'b.example:5000' };
const listing = (...allowPrivate: string[]): EgressPolicy => ({ ...nobody, allowPrivate });

const judged: readonly [url: string, address: string, policy: EgressPolicy, allowed: boolean][] = [
  ['https://a.example/', '8.8.8.8', nobody, true],
  ['https://a.example/', '2606:4700::1111', nobody, true],
  ['https://a.example/', '::ffff:8.8.8.8', nobody, true],
  ['https://a.example/', '10.0.0.1', nobody, false],
  // What the configuration names may be in networks of one's own, and only there.
  ['https://a.example/', '10.0.0.1', named, true],
  ['https://a.example/', '127.0.0.1', named, true],
  ['https://a.example/', '100.64.0.1', named, true],
  ['https://a.example/', 'fd00::1', named, true],
  ['https://a.example/', '::ffff:192.168.0.1', named, true],
  ['https://a.example:8443/', '10.0.0.1', named, false],
  ['https://b.example:5000/', '10.0.0.1', named, true],
  ['https://b.example/', '10.0.0.1', named, false],
  ['https://a.example/', '169.254.10.20', named, false],
  ['https://a.example/', '169.254.169.254', named, false],
  ['https://a.example/', '100.100.100.200', named, false],
  ['https://a.example/', 'fd00:ec2::254', named, false],
  ['https://a.example/', '168.63.129.16', named, false],
  ['https://a.example/', '0.0.0.0', named, false],
  ['https://a.example/', '64:ff9b::a00:1', named, false],
  ['http://c.example:80/', '10.0.0.1', { ...nobody, plainHttpHosts: ['c.example'] }, true],
  // Without `named` every host is one of the configuration.
  ['https://c.example/', '10.0.0.1', { plainHttpHosts: [] }, true],
  ['https://c.example/', '169.254.169.254', { plainHttpHosts: [] }, false],
  // Listed: by host, by host and port, by address, by network.
  ['https://c.example/', '10.0.0.1', listing('c.example'), true],
  ['https://c.example/', '169.254.169.254', listing('c.example'), true],
  ['https://d.c.example/', '10.0.0.1', listing('c.example'), false],
  ['https://c.example:5000/', '10.0.0.1', listing('c.example:5000'), true],
  ['https://c.example:5001/', '10.0.0.1', listing('c.example:5000'), false],
  ['https://c.example/', '10.0.0.1', listing('10.0.0.1'), true],
  ['https://c.example/', '10.0.0.2', listing('10.0.0.1'), false],
  ['https://c.example/', 'fd00:0:0::1', listing('fd00::1'), true],
  ['https://c.example/', '10.9.9.9', listing('192.168.0.0/16', '10.0.0.0/8'), true],
  ['https://c.example/', '11.0.0.1', listing('10.0.0.0/8'), true],
  ['https://c.example/', '172.16.0.1', listing('10.0.0.0/8'), false],
  ['https://c.example/', '::ffff:10.0.0.1', listing('10.0.0.0/8'), true],
  ['https://c.example/', 'fd12::1', listing('fc00::/7'), true],
  ['https://c.example/', '169.254.10.20', listing('169.254.0.0/16'), true],
  // Metadata services lie in such networks and are not meant.
  ['https://c.example/', '169.254.169.254', listing('169.254.0.0/16'), false],
  ['https://c.example/', '100.100.100.200', listing('100.64.0.0/10'), false],
  ['https://c.example/', 'fd00:ec2::254', listing('fd00::/8'), false],
  ['https://c.example/', '169.254.169.254', listing('169.254.169.254'), true],
  // Behind a NAT64 that is listed, the address inside counts.
  ['https://c.example/', '64:ff9b::808:808', listing('64:ff9b::/96'), true],
  ['https://c.example/', '64:ff9b::a00:1', listing('64:ff9b::/96'), false],
  ['https://c.example/', '64:ff9b::a00:1', listing('64:ff9b::/96', '10.0.0.0/8'), true],
  ['https://c.example/', '64:ff9b::a9fe:a9fe', listing('64:ff9b::/96'), false],
];

test('which addresses may be connected to, by what the configuration says', () => {
  for (const [url, address, policy, allowed] of judged) {
    const told = `${url} at ${address} with ${JSON.stringify(policy)}`;
    assert.equal(
      isAllowed(() => assertAddressAllowed(new URL(url), address, policy)),
      allowed,
      told,
    );
  }
  assert.equal(
    isAllowed(() => assertAllowed(new URL('https://[fd00::1]:5000/'), listing('fd00::1'))),
    true,
  );
});

test('the refusal names the setting that lets the host in, and never the address', () => {
  const refusal = (address: string): string => {
    try {
      assertAddressAllowed(new URL('https://registry.corp.example/'), address, nobody);
    } catch (error) {
      if (error instanceof CountersignError) return error.message;
    }
    return assert.fail();
  };
  assert.equal(
    refusal('10.20.30.40'),
    'Requests to registry.corp.example are not allowed: its address is private. If that is meant, add ' +
      '"registry.corp.example", or the network that it is in, to outbound.allowPrivate.',
  );
  assert.equal(
    refusal('169.254.169.254'),
    "Requests to registry.corp.example are not allowed: its address is that of a cloud's metadata service. If that is meant, " +
      'add "registry.corp.example" to outbound.allowPrivate.',
  );
});

test('entries of allowPrivate', () => {
  for (const entry of [
    'registry.corp.example',
    'registry:5000',
    '10.0.0.1',
    '10.0.0.1:5000',
    'fd00::1',
    '[fd00::1]:5000',
    '10.0.0.0/8',
    '192.168.0.0/16',
    'fc00::/7',
    '64:ff9b::/96',
  ]) {
    assert.equal(privateEntryProblem(entry), undefined, entry);
  }
  for (const entry of [
    '',
    'Registry.example',
    'https://registry.example',
    'registry.example/path',
    '0.0.0.0/0',
    '::/0',
    '10.0.0.0/33',
    '10.0.0/8',
    '*.example',
    'a b',
    '127.1',
  ]) {
    assert.notEqual(privateEntryProblem(entry), undefined, entry);
  }
});

test('a name that means another address the next moment: what was judged is what is connected to', async (t) => {
  const seen: Socket[] = [];
  const port = await serve(t, (request, response) => {
    seen.push(request.socket);
    response.setHeader('connection', 'close').end();
  });
  // 127.0.0.1 stands for a public address here: it is the one that is let in.
  const answers = ['127.0.0.1', '127.0.0.2', '169.254.169.254'];
  let asked = 0;
  const resolve: Resolver = async () => [{ address: answers[asked++] ?? '::1', family: 4 }];
  const watched = watchAttempts();
  t.after(() => watched.stop());
  const client = () =>
    open(t, { plainHttpHosts: ['192.0.2.9'], named: () => false, allowPrivate: ['127.0.0.1'], resolve });
  const url = `https://rebinding.example:${port}/`;
  await assert.rejects(client().request(get(url), within(5_000)), { code: 'unavailable' });
  assert.deepEqual(watched.attempts, [`127.0.0.1:${port}`]);
  assert.equal(asked, 1);
  await assert.rejects(client().request(get(url), within(5_000)), isDenied);
  await assert.rejects(client().request(get(url), within(5_000)), isDenied);
  assert.equal(watched.attempts.length, 1);
});

test('of several answers the refused ones are left out, wherever they stand', async (t) => {
  const port = await serve(t, (_, response) => response.end());
  const resolve = fakeResolver({
    'mixed.example': ['169.254.169.254', 'fe80::1', '127.0.0.1', '0.0.0.0', '64:ff9b::a00:1'],
    'empty.example': [],
  });
  const watched = watchAttempts();
  t.after(() => watched.stop());
  const host = `mixed.example:${port}`;
  const url = `http://${host}/`;
  const client = open(t, { plainHttpHosts: [host, 'empty.example'], resolve });
  assert.equal((await client.request(get(url), within(5_000))).status, 200);
  assert.deepEqual(watched.attempts, [`127.0.0.1:${port}`]);
  await assert.rejects(client.request(get('http://empty.example/'), within(5_000)), { reason: 'HOST_NOT_FOUND' });
});

test('a pool that is kept alive resolves once, and connections that open together share the answer', async (t) => {
  const sockets = new Set<Socket>();
  const port = await serve(t, (request, response) => {
    sockets.add(request.socket);
    setTimeout(() => response.end(), 5);
  });
  const asked: string[] = [];
  const client = open(t, {
    plainHttpHosts: ['pool.example'],
    connectionsPerHost: 4,
    resolve: async (name) => {
      asked.push(name);
      return [{ address: '127.0.0.1', family: 4 }];
    },
  });
  const url = `http://pool.example:${port}/`;
  await Promise.all(Array.from({ length: 40 }, () => client.request(get(url), within(5_000))));
  for (let round = 0; round < 20; round++) await client.request(get(url), within(5_000));
  assert(sockets.size > 1 && sockets.size <= 4, `${sockets.size} connections`);
  assert.deepEqual(asked, ['pool.example']);
});

test('a resolver that fails is asked again; one that hangs ends with the deadline', async (t) => {
  const port = await serve(t, (_, response) => response.end());
  const answers: Resolver[] = [
    async () => Promise.reject(Object.assign(new Error('try again'), { code: 'EAI_AGAIN' })),
    () => new Promise(() => {}),
    async () => [{ address: '127.0.0.1', family: 4 }],
  ];
  const resolve: Resolver = (name) => (answers.shift() ?? assert.fail())(name);
  const url = `http://flaky.example:${port}/`;
  const client = open(t, { plainHttpHosts: ['flaky.example'], resolve });
  await assert.rejects(client.request(get(url), within(5_000)), { code: 'unavailable', reason: 'HOST_NOT_FOUND' });
  await assert.rejects(client.request(get(url), within(200)), { code: 'deadline_exceeded' });
  const other = open(t, { plainHttpHosts: ['flaky.example'], resolve });
  assert.equal((await other.request(get(url), within(5_000))).status, 200);
});

test('TLS is asked for and verified by the name, whatever address it resolves to', async (t) => {
  const own = selfSigned();
  const names: (string | false | null)[] = [];
  const server = createTlsServer(own, (request, response) => {
    names.push((request.socket as Socket & { servername?: string | false | null }).servername ?? null);
    response.end();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const resolve = fakeResolver({ localhost: ['127.0.0.1'], 'other.example': ['127.0.0.1'] });
  const client = open(t, { plainHttpHosts: [], ca: [own.cert], resolve });
  assert.equal((await client.request(get(`https://localhost:${port}/`), within(5_000))).status, 200);
  await assert.rejects(client.request(get(`https://other.example:${port}/`), within(5_000)), { reason: 'TLS_FAILED' });
  assert.deepEqual(names, ['localhost']);
});

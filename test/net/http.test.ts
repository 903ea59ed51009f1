import assert from 'node:assert/strict';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { mayRedirect } from '../../src/net/egress.ts';
import { createHttpClient, type HttpClientOptions } from '../../src/net/http.ts';
import type { HttpRequest } from '../../src/net/port.ts';

const serve = async (t: TestContext, listener: RequestListener): Promise<string> => {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const open = (t: TestContext, options: Partial<HttpClientOptions> = {}) => {
  const client = createHttpClient({ plainHttpHosts: ['127.0.0.1'], ...options });
  t.after(() => client.close());
  return client;
};

const get = (url: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: 'GET',
  url,
  headers: {},
  maxBytes: 1_000,
  ...more,
});

const within = (ms: number) => openContext('test', ms).context;

const fails = (code: string, reason?: string) => (error: unknown) => {
  assert(error instanceof CountersignError, String(error));
  assert.equal(error.code, code, error.message);
  if (reason !== undefined) assert.equal(error.reason, reason, error.message);
  return true;
};

test('method, path, headers and body arrive; status, headers and body come back', async (t) => {
  const url = await serve(t, async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    response.setHeader('set-cookie', ['a=1', 'b=2']);
    response.writeHead(418, { 'x-answer': request.headers['x-question'] ?? '' });
    response.end(`${request.method} ${request.url} ${Buffer.concat(chunks)} ${request.headers['accept-encoding']}`);
  });
  const client = open(t, { headers: () => ({ traceparent: '00-1-2-01' }) });
  const body = Buffer.from('hello');
  const response = await client.request(
    get(`${url}/a?b=c`, { method: 'PUT', headers: { 'x-question': 'why' }, body }),
    within(5_000),
  );
  assert.equal(response.status, 418);
  assert.equal(response.headers['x-answer'], 'why');
  assert.equal(response.headers['set-cookie'], 'a=1, b=2');
  assert.equal(Buffer.from(response.body).toString(), 'PUT /a?b=c hello identity');
  assert.equal(response.url, `${url}/a?b=c`);
});

test('the headers hook is asked for every request', async (t) => {
  const seen: (string | undefined)[] = [];
  const url = await serve(t, (request, response) => {
    seen.push(request.headers['traceparent'] as string | undefined);
    response.end();
  });
  let count = 0;
  const client = open(t, { headers: () => ({ traceparent: `t${++count}` }) });
  await client.request(get(url), within(5_000));
  await client.request(get(url), within(5_000));
  assert.deepEqual(seen, ['t1', 't2']);
});

test('connections are kept, and no more are opened than allowed', async (t) => {
  const sockets = new Set<Socket>();
  const url = await serve(t, (request, response) => {
    sockets.add(request.socket);
    setTimeout(() => response.end(), 5);
  });
  const client = open(t, { connectionsPerHost: 3 });
  await Promise.all(Array.from({ length: 30 }, () => client.request(get(url), within(5_000))));
  assert(sockets.size <= 3, `${sockets.size} connections`);
});

test('more body than allowed is refused, announced or not; an encoded body is refused', async (t) => {
  const url = await serve(t, (request, response) => {
    if (request.url === '/announced') response.setHeader('content-length', '1001');
    if (request.url === '/gzip') response.setHeader('content-encoding', 'gzip');
    response.end(Buffer.alloc(request.url === '/fits' ? 1_000 : 1_001));
  });
  const client = open(t);
  for (const path of ['/announced', '/chunked']) {
    await assert.rejects(client.request(get(url + path), within(5_000)), fails('unavailable', 'RESPONSE_TOO_LARGE'));
  }
  await assert.rejects(client.request(get(`${url}/gzip`), within(5_000)), fails('unavailable', 'RESPONSE_ENCODED'));
  assert.equal((await client.request(get(`${url}/fits`), within(5_000))).body.byteLength, 1_000);
  assert.equal((await client.request(get(url, { method: 'HEAD', maxBytes: 0 }), within(5_000))).status, 200);
});

test('the deadline and the caller end a request wherever it is', async (t) => {
  const url = await serve(t, (request, response) => {
    if (request.url === '/body') response.write('half');
  });
  const client = open(t, { connectionsPerHost: 1 });
  for (const path of ['/headers', '/body']) {
    const started = performance.now();
    await assert.rejects(client.request(get(url + path), within(150)), (error: CountersignError) => {
      assert.match(error.message, /deadline of the request passed; 127\.0\.0\.1:\d+ had not answered yet/);
      return fails('deadline_exceeded')(error);
    });
    assert(performance.now() - started < 1_000);
  }
  // One hangs on the only connection, the other waits for it.
  const owned = [openContext('test', 5_000), openContext('test', 5_000)];
  const waiting = owned.map(({ context }) => client.request(get(`${url}/headers`), context));
  setTimeout(() => {
    for (const { cancel } of owned) cancel();
  }, 30);
  for (const request of waiting) await assert.rejects(request, fails('cancelled'));
  await assert.rejects(client.request(get(url), owned[0]?.context ?? within(1)), fails('cancelled'));
});

test('a server that does not answer its headers in time', async (t) => {
  const url = await serve(t, () => {});
  const client = open(t, { headersTimeoutMs: 300 });
  await assert.rejects(client.request(get(url), within(10_000)), (error: CountersignError) => {
    assert.notEqual(error.retryAfterMs, undefined);
    assert.match(error.message, /127\.0\.0\.1:\d+ did not answer in time/);
    return fails('unavailable', 'RESPONSE_TIMEOUT')(error);
  });
});

test('refused, reset, unknown and garbage are typed, with the host named and the cause kept', async (t) => {
  const closed = await serve(t, () => {});
  const reset = await serve(t, (request) => request.socket.resetAndDestroy());
  const tcp = createTcpServer((socket) => socket.end('this is not HTTP\r\n\r\n'));
  await new Promise<void>((done) => tcp.listen(0, '127.0.0.1', done));
  t.after(() => tcp.close());
  const garbage = `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  const client = open(t, { plainHttpHosts: ['127.0.0.1', 'nowhere.invalid'] });
  await assert.rejects(
    client.request(get('http://127.0.0.1:1/'), within(5_000)),
    fails('unavailable', 'CONNECTION_REFUSED'),
  );
  await assert.rejects(client.request(get(reset), within(5_000)), (error: CountersignError) => {
    assert(error.cause instanceof Error);
    assert.match(error.message, /^127\.0\.0\.1:\d+ /);
    return fails('unavailable', 'CONNECTION_RESET')(error);
  });
  await assert.rejects(client.request(get(garbage), within(5_000)), fails('unavailable', 'RESPONSE_MALFORMED'));
  await assert.rejects(
    client.request(get('http://nowhere.invalid/'), within(5_000)),
    fails('unavailable', 'HOST_NOT_FOUND'),
  );
  await assert.rejects(client.request(get(closed.replace('http:', 'https:')), within(5_000)), fails('unavailable'));
});

test('http is spoken only to hosts that the configuration names', async (t) => {
  const url = await serve(t, (_, response) => response.end());
  const { port } = new URL(url);
  for (const [hosts, allowed] of [
    [['127.0.0.1'], true],
    [[`127.0.0.1:${port}`], true],
    [['127.0.0.1:1'], false],
    [['localhost'], false],
    [[], false],
  ] as const) {
    const client = open(t, { plainHttpHosts: hosts });
    const request = client.request(get(url), within(5_000));
    if (allowed) assert.equal((await request).status, 200);
    else await assert.rejects(request, fails('failed_precondition', 'EGRESS_DENIED'));
  }
  const client = open(t);
  for (const bad of [
    'ftp://127.0.0.1/',
    'file:///etc/passwd',
    'nonsense',
    'http://user:pw@127.0.0.1/',
    'https://169.254.169.254/',
    'https://169.254.169.254./',
    'https://[::ffff:169.254.169.254]/',
    'https://[64:ff9b::169.254.169.254]/',
    'https://[2002:a9fe:a9fe::]/',
    'https://[fe80::1]/',
    'https://0.0.0.0/',
    'https://0xa9fea9fe/',
  ]) {
    await assert.rejects(client.request(get(bad), within(1_000)), fails('failed_precondition', 'EGRESS_DENIED'), bad);
  }
});

test('redirects: followed for GET up to five hops, without secrets to another origin, never down to http', async (t) => {
  const seen: { url: string | undefined; authorization: string | undefined; cookie: string | undefined }[] = [];
  const other = await serve(t, (request, response) => {
    seen.push({ url: request.url, authorization: request.headers.authorization, cookie: request.headers.cookie });
    response.end('there');
  });
  const url = await serve(t, (request, response) => {
    seen.push({ url: request.url, authorization: request.headers.authorization, cookie: request.headers.cookie });
    const [, kind, hops] = (request.url ?? '').split('/');
    const left = Number(hops);
    const location =
      kind === 'away'
        ? `${other}/landed`
        : kind === 'bad'
          ? 'http://example.test/'
          : left > 0
            ? `/hop/${left - 1}`
            : '';
    response.writeHead(location === '' ? 200 : 302, location === '' ? {} : { location }).end('here');
  });
  const client = open(t);
  const secrets = { Authorization: 'Bearer secret', cookie: 'a=b' };
  const ask = (path: string, more: Partial<HttpRequest> = {}) =>
    client.request(get(url + path, { headers: secrets, followRedirects: true, ...more }), within(5_000));

  const away = await ask('/away');
  assert.equal(away.url, `${other}/landed`);
  assert.deepEqual(seen.splice(0), [
    { url: '/away', authorization: 'Bearer secret', cookie: 'a=b' },
    { url: '/landed', authorization: undefined, cookie: undefined },
  ]);
  assert.equal((await ask('/hop/5')).status, 200);
  assert(seen.splice(0).every(({ authorization }) => authorization === 'Bearer secret'));
  await assert.rejects(ask('/hop/6'), fails('failed_precondition', 'EGRESS_DENIED'));
  await assert.rejects(ask('/bad'), fails('failed_precondition', 'EGRESS_DENIED'));
  assert.equal((await ask('/hop/1', { followRedirects: false })).status, 302);
  assert.equal((await ask('/hop/1', { method: 'POST' })).status, 302);
});

test('an answer from elsewhere cannot send us to services of our own host', () => {
  const may = (from: string, to: string) => mayRedirect(new URL(from), new URL(to));
  for (const inward of [
    'https://127.0.0.1:8200/',
    'https://[::1]/',
    'https://localhost./',
    'https://2130706433/',
    'https://[::ffff:127.0.0.1]/',
  ]) {
    assert.equal(may('https://registry.example/', inward), false, inward);
    assert.equal(may('https://127.0.0.2:5000/', inward), true, inward);
  }
  assert.equal(may('https://registry.example/', 'https://blobs.example/'), true);
  assert.equal(may('https://registry.example/', 'https://10.0.0.9:9000/'), true);
});

test('a HEAD keeps its connection; one that a server sends a body with costs it, and nothing else', async (t) => {
  for (const sendsBody of [false, true]) {
    let connections = 0;
    const sockets = new Set<Socket>();
    const server = createTcpServer((socket) => {
      connections += 1;
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (bytes) => {
        const body = bytes.toString().startsWith('HEAD') && !sendsBody ? '' : '{"schemaVersion":2}';
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 19\r\ncontent-type: application/json\r\n\r\n${body}`);
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    t.after(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const client = open(t);
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    for (let round = 0; round < 10; round++) {
      assert.equal((await client.request(get(url, { method: 'HEAD' }), within(10_000))).status, 200);
      const { body } = await client.request(get(url), within(10_000));
      assert.equal(Buffer.from(body).toString(), '{"schemaVersion":2}');
    }
    // Sent one after the other; undici may open a second connection before the first is free again.
    if (sendsBody) assert.ok(connections >= 10, `${connections}`);
    else assert.ok(connections <= 2, `${connections}`);
  }
});

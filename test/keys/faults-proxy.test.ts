// The scripted proxy itself: without a rule it changes nothing, and each fault is what it is called.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type HttpFaultProxy, startHttpProxy } from '../contract/keys/fault-proxy.ts';
import { startTcpProxy } from '../contract/keys/fault-tcp.ts';

const content = '{"answer":"of the backend"}';

/** A backend that answers with what it was sent, and the proxy before it. */
const started = async (t: TestContext): Promise<{ proxy: HttpFaultProxy; origin: string; seen: IncomingMessage[] }> => {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    response.sendDate = false;
    response.setHeader('X-Twice', ['one', 'two']);
    if (request.url === '/chunked') {
      response.write(content.slice(0, 5));
      return void response.end(content.slice(5));
    }
    response.writeHead(request.url === '/refused' ? 403 : 200, 'In Its Own Words', {
      'Content-Type': 'application/json',
      'Content-Length': content.length,
    });
    response.end(content);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const proxy = await startHttpProxy({
    target: origin,
    legOf: ({ method }) => (method === 'POST' ? 'sign' : undefined),
  });
  t.after(async () => {
    await proxy.close();
    server.closeAllConnections();
    server.close();
  });
  return { proxy, origin, seen };
};

/** All that comes back for one request, and how that ends. */
const spoken = (origin: string, request: string, patienceMs = 2_000): Promise<{ text: string; end: string }> =>
  new Promise((resolve) => {
    let text = '';
    const socket = connect(Number(new URL(origin).port), '127.0.0.1');
    const done = (end: string): void => {
      socket.destroy();
      resolve({ text, end });
    };
    socket.setTimeout(patienceMs, () => done('silent'));
    socket.on('data', (piece) => {
      text += piece.toString('latin1');
    });
    socket.on('end', () => done('closed')).on('error', (error) => done((error as NodeJS.ErrnoException).code ?? ''));
    socket.write(request);
  });

const ask = (method: string, path: string, body = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: backend.example\r\nX-Odd-Case: a\r\nx-odd-case: b\r\n` +
  `Connection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

test('without a rule request and answer are those of the backend, to the byte', async (t) => {
  const { proxy, origin, seen } = await started(t);
  for (const [method, path] of [
    ['GET', '/'],
    ['POST', '/with?a%20query=b&c'],
    ['POST', '/refused'],
    ['GET', '/chunked'],
  ] as const) {
    const body = method === 'POST' ? 'sent' : '';
    const direct = await spoken(origin, ask(method, path, body));
    const through = await spoken(proxy.origin, ask(method, path, body));
    // Chunks are joined on the way.
    const joined = ({ text }: typeof direct) => text.replace(/\r\n5\r\n(.{5})\r\n\w+\r\n/, '\r\n1b\r\n$1');
    assert.equal(joined(through), joined(direct));
    const [first, second] = seen.splice(0);
    assert.deepEqual(second?.rawHeaders, first?.rawHeaders);
    assert.equal(second?.url, first?.url);
  }
  assert.equal(proxy.count('sign'), 2);
});

test('each fault is what it is called, and once is once', async (t) => {
  const { proxy, seen } = await started(t);
  const post = ask('POST', '/', 'sent');
  const meet = async (...[fault, patience]: [Parameters<HttpFaultProxy['inject']>[1], number?]) => {
    proxy.inject('sign', fault, 1);
    const met = await spoken(proxy.origin, post, patience);
    proxy.heal();
    return met;
  };
  const bodyOf = (text: string): string => text.split('\r\n\r\n')[1] ?? '';
  const middle = content.slice(0, Math.floor(content.length / 2));

  assert.deepEqual(await meet({ kind: 'reset' }), { text: '', end: 'ECONNRESET' });
  assert.equal(seen.length, 0, 'the backend was not asked');
  const cut = await meet({ kind: 'cut' });
  assert.ok(middle.startsWith(bodyOf(cut.text)), 'no more than half');
  assert.equal(cut.end, 'ECONNRESET');
  const half = await meet({ kind: 'half' });
  assert.match(half.text, new RegExp(`Content-Length: ${content.length + 100}\r\n`));
  assert.deepEqual([bodyOf(half.text), half.end], [content, 'closed']);
  assert.deepEqual(await meet({ kind: 'hang' }, 200), { text: '', end: 'silent' });
  const stall = await meet({ kind: 'stall' }, 200);
  assert.deepEqual([bodyOf(stall.text), stall.end], [middle, 'silent']);
  assert.equal(seen.length, 4, 'of all but the reset the backend knows');
  const began = performance.now();
  assert.equal(bodyOf((await meet({ kind: 'delay', ms: 200 })).text), content);
  assert.ok(performance.now() - began >= 200);
  const rewritten = await meet({ kind: 'rewrite', change: ({ answer }) => ({ was: answer }) });
  assert.equal(bodyOf(rewritten.text), '{"was":"of the backend"}');
  assert.equal(bodyOf((await meet({ kind: 'garble', change: (bytes) => bytes.subarray(3) })).text), content.slice(3));
  const refusal = await meet({ kind: 'refusal', refusal: ({ body }) => ({ status: 418, body: { got: `${body}` } }) });
  assert.match(refusal.text, /^HTTP\/1.1 418 [\s\S]*\{"got":"sent"\}/);
  const redirect = await meet({ kind: 'redirect' });
  const location = /location: (\S+)/.exec(redirect.text)?.[1] ?? '';
  assert.equal(proxy.followed(), 0);
  await fetch(location);
  assert.equal(proxy.followed(), 1);
  assert.equal(bodyOf((await spoken(proxy.origin, post)).text), content, 'after all that');
});

test('who takes a whole flood is found out', async (t) => {
  const { origin } = await started(t);
  const proxy = await startHttpProxy({ target: origin, legOf: () => 'sign' });
  proxy.inject('sign', { kind: 'flood' });
  const response = await fetch(proxy.origin);
  await assert.rejects(response.arrayBuffer());
  await assert.rejects(proxy.close(), /a flood was not cut off/);
});

test('below what is spoken: the same faults, for the next piece that comes back', async (t) => {
  const server = createTcpServer((socket) => void socket.on('error', () => undefined).pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await startTcpProxy((server.address() as AddressInfo).port);
  t.after(async () => {
    await proxy.close();
    server.close();
  });
  const origin = `http://127.0.0.1:${proxy.port}`;
  const meet = (kind: 'reset' | 'cut' | 'half' | 'hang' | 'stall') => {
    proxy.arm({ kind });
    return spoken(origin, 'echoed', 200);
  };
  assert.deepEqual(await spoken(origin, 'echoed', 200), { text: 'echoed', end: 'silent' });
  assert.deepEqual(await meet('reset'), { text: '', end: 'ECONNRESET' });
  const cut = await meet('cut');
  assert.ok('ech'.startsWith(cut.text));
  assert.equal(cut.end, 'ECONNRESET');
  assert.deepEqual(await meet('half'), { text: 'ech', end: 'closed' });
  assert.deepEqual(await meet('hang'), { text: '', end: 'silent' });
  assert.deepEqual(await meet('stall'), { text: 'ech', end: 'silent' });
  assert.deepEqual(await spoken(origin, 'echoed', 200), { text: 'echoed', end: 'silent' });
});

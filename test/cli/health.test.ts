import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { capture } from './capture.ts';

const server = createServer((request, response) => {
  if (request.url === '/hangs') return;
  response.writeHead(request.url === '/livez' ? 200 : 503).end('{}');
});
let base = '';
before(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

test('200 is healthy, by option and by environment', async () => {
  const healthy = { code: 0, out: `healthy: ${base}/livez answered 200\n`, err: '' };
  assert.deepEqual(await capture(['health', '--url', `${base}/livez`]), healthy);
  assert.deepEqual(await capture(['health'], { COUNTERSIGN_HEALTH_URL: `${base}/livez` }), healthy);
});

test('any other answer is not healthy', async () => {
  const { code, out } = await capture(['health', '--url', `${base}/readyz`, '--output', 'json']);
  assert.equal(code, 10);
  assert.deepEqual(JSON.parse(out), { url: `${base}/readyz`, status: 503, healthy: false });
});

test('no answer, or none in time, is not healthy', async () => {
  const late = await capture(['health', '--url', `${base}/hangs`, '--timeout', '50ms']);
  assert.equal(late.code, 7);
  assert.match(late.err, /gave no answer within 50 ms/);
  const nobody = await capture(['health', '--url', 'http://127.0.0.1:1/livez']);
  assert.equal(nobody.code, 7);
  assert.match(nobody.err, /ECONNREFUSED/);
});

test('what is no http address is a usage error', async () => {
  for (const url of ['https://127.0.0.1/livez', 'livez', 'file:///etc/passwd']) {
    assert.equal((await capture(['health', '--url', url])).code, 2, url);
  }
  assert.equal((await capture(['health', 'now'])).code, 2);
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type AdminListener, type Check, startAdmin } from '../../src/api/admin.ts';

let admin: AdminListener;
let checks: Check[] = [];
before(async () => {
  admin = await startAdmin({
    address: { host: '127.0.0.1', port: 0 },
    ready: () => checks,
    metrics: (_request, response) => response.end('up 1\n'),
    version: { version: '0.1.0', node: 'v24' },
  });
});
after(() => admin.close());

const get = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${admin.port}${path}`, { method });

test('livez, metrics and version answer', async () => {
  assert.equal((await get('/livez')).status, 200);
  assert.equal(await (await get('/metrics')).text(), 'up 1\n');
  assert.deepEqual(await (await get('/version')).json(), { version: '0.1.0', node: 'v24' });
  assert.equal((await get('/livez', 'HEAD')).status, 200);
});

test('readyz tells each check, and is 503 when one is not ok', async () => {
  checks = [{ name: 'audit', ok: true, detail: '' }];
  assert.equal((await get('/readyz')).status, 200);
  checks = [...checks, { name: 'policy', ok: false, detail: 'not loaded' }];
  const response = await get('/readyz');
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), { ready: false, checks });
});

test('anything else is a problem', async () => {
  const response = await get('/v1/sign');
  assert.equal(response.status, 404);
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  const wrong = await get('/livez', 'POST');
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get('allow'), 'GET, HEAD');
  assert.equal((await get('/__proto__')).status, 404);
});

test('without metrics, their page says how to turn them on', async (t) => {
  const address = { host: '127.0.0.1', port: 0 };
  const quiet = await startAdmin({ address, ready: () => [], metrics: undefined, version: { version: '', node: '' } });
  t.after(() => quiet.close());
  const response = await fetch(`http://127.0.0.1:${quiet.port}/metrics`);
  assert.equal(response.status, 404);
  const problem = (await response.json()) as { reason: string; detail: string };
  assert.equal(problem.reason, 'METRICS_OFF');
  assert.match(problem.detail, /telemetry\.metrics: true/);
});

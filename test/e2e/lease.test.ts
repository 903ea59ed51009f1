// A served program whose configuration has registry.lease: it is used, and what it needs is told, secrets excepted.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { signImage } from '../../src/cli/calls.ts';
import { eventually } from '../registry/credential-world.ts';
import { startFakeValkey } from '../registry/fake-valkey.ts';
import { keyPassword, startServedWorld } from './served-world.ts';

const password = 'of-the-store-of-leases';

test('signatures at tags are written under a lease; without the store they fail, and bundles do not', async (t) => {
  const store = await startFakeValkey();
  const world = await startServedWorld({
    env: async () => ({ KEY_PASSWORD: keyPassword, LEASE_PASSWORD: password }),
    more: {
      registry: { lease: { kind: 'valkey', url: store.url, username: 'countersign', password: '${LEASE_PASSWORD}' } },
      telemetry: { metrics: true },
    },
  });
  t.after(() => Promise.all([world.stop(), store.close()]));
  await world.process.logged('leases can be had');
  const sign = (...formats: string[]) => signImage(world.client(), { image: world.image, key: 'release', formats });

  await sign('bundle');
  const commands = () => store.seen.flat();
  assert.deepEqual(
    commands().map(([name]) => name),
    ['AUTH'],
  );
  assert.deepEqual(commands()[0], ['AUTH', 'countersign', password]);
  await sign('simple-signing');
  const keys = commands()
    .filter(([name]) => name === 'EVAL')
    .map((command) => command[3] ?? '');
  assert.ok(keys.length >= 3, 'taken, confirmed, given back');
  for (const key of keys) {
    assert.match(key, /^countersign:lease:\{127\.0\.0\.1:\d+\/acme\/app:sha256-[0-9a-f]{64}\.sig\}$/);
  }
  const metrics = await (await fetch(`http://${world.process.admin}/metrics`)).text();
  assert.match(metrics, /^countersign_lease_wait_seconds_count\{outcome="held"\} [1-9]/m);

  await store.close();
  await world.process.logged('no leases can be had: signatures at tags fail meanwhile');
  const client = world.client();
  const failing = signImage(client, {
    image: world.image,
    key: 'release',
    formats: ['simple-signing'],
    ifAbsent: false,
  });
  await assert.rejects(failing, /No leases for writes to tags can be had/);
  assert.equal((await fetch(`http://${world.process.admin}/readyz`)).status, 200);
  await eventually(async () =>
    assert.match(
      await (await fetch(`http://${world.process.admin}/metrics`)).text(),
      /^countersign_lease_wait_seconds_count\{outcome="LEASE_UNAVAILABLE"\} 1/m,
    ),
  );

  assert.ok(world.process.child.kill('SIGTERM'));
  assert.equal(await world.process.ended, 0);
  assert.ok(!`${world.process.log()}${JSON.stringify(await world.audit())}`.includes(password));
});

test('a file that is not there stops the start, and is named', async () => {
  const lease = { kind: 'valkey', url: 'rediss://valkey.example', caFile: 'absent.crt' };
  await assert.rejects(
    startServedWorld({ more: { registry: { lease } } }),
    /absent\.crt of registry\.lease cannot be read/,
  );
});

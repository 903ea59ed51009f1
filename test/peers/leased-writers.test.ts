// 50 signers of one digest over two replicas with leases in a real Valkey, 20 runs of each layout at tags, in registries that look
// at no condition: 50 of 50 are found, and nothing settles. Then the same while Valkey is killed and started anew.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { startRegistry } from '../../src/dev/registry.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { Lease } from '../../src/registry/lease.ts';
import { leaseSettings } from '../../src/registry/leases/settings.ts';
import { openLease } from '../../src/registry/leases/open.ts';
import type { Registry as RegistryPort } from '../../src/registry/port.ts';
import { eventually } from '../registry/credential-world.ts';
import { startFaultRegistry } from '../registry/fault-registry.ts';
import { seeded, signConcurrently } from '../registry/signers.ts';
import { bundle, clientFor, layer, resolve, within } from '../registry/world.ts';
import { type PeerName, requirePeers, skipWithout } from './peer.ts';
import { startDistribution, startDockerRegistry, startGgcrRegistry } from './registries.ts';
import { startValkey, type Valkey } from './valkey.ts';

const runs = 20;
const atOnce = 4;
const settleMs = 1_000;
const durationMs = 3_000;
const deadlineMs = 60_000;

type Started = { readonly host: string; stop(): Promise<void> };
const kinds: readonly { readonly label: string; readonly peers: readonly PeerName[]; start(): Promise<Started> }[] = [
  {
    label: 'the embedded one, with delays, that ignores conditions',
    peers: [],
    start: async () => {
      const random = seeded(3);
      const { host, close } = await startRegistry({ referrers: false, etag: 'ignored', delayMs: () => random() * 12 });
      return { host, stop: close };
    },
  },
  {
    label: 'ggcr without referrers',
    peers: ['ggcr-registry'],
    start: () => startGgcrRegistry({ referrers: false }),
  },
  { label: 'distribution 2.8', peers: ['docker-registry'], start: startDockerRegistry },
  { label: 'distribution 3.1', peers: ['distribution'], start: () => startDistribution() },
];

const openLeases = (valkey: Valkey): Promise<readonly [Lease, Lease]> => {
  const settings = leaseSettings.parse({ kind: 'valkey', url: valkey.url, durationMs, waitMs: deadlineMs });
  const open = () => openLease(settings, { allowPrivate: [], warn: () => undefined });
  return Promise.all([open(), open()]);
};

const layouts = [
  ['fallback-tag', bundle],
  ['tag', layer],
] as const;

for (const { label, peers, start } of kinds) {
  describe(`50 signers in two replicas with leases, ${label}`, { skip: skipWithout('valkey', ...peers) }, () => {
    let valkey: Valkey;
    let registry: Started;
    let leases: readonly [Lease, Lease];
    before(async () => {
      requirePeers('valkey', ...peers);
      [valkey, registry] = await Promise.all([startValkey(), start()]);
      leases = await openLeases(valkey);
      await Promise.all(leases.map((lease) => lease.hold('first', within(deadlineMs), async () => ({}))));
      await new Promise((done) => setTimeout(done, durationMs));
    });
    after(() => Promise.all([...(leases ?? []).map((lease) => lease.close()), valkey?.stop(), registry?.stop()]));

    for (const [layout, sealed] of layouts) {
      const random = seeded(11);
      const run = async (index: number): Promise<void> => {
        const repository = `acme/${layout}${index}`;
        await pushImage(registry.host, repository, 'v1');
        const replicas = leases.map((lease) => clientFor(registry.host, undefined, 3, { settleMs, lease }));
        const reader = clientFor(registry.host);
        try {
          const how = { sealed, replicas, reader, random, withinMs: 100, deadlineMs };
          const reference = `${registry.host}/${repository}:v1`;
          assert.deepEqual(await signConcurrently({ reference, ...how }), new Set([layout]));
        } finally {
          await Promise.all([...replicas, reader].map((client) => client.close()));
        }
      };

      it(`${layout}: 50 of 50, ${runs} times`, async () => {
        for (let first = 0; first < runs; first += atOnce) {
          await Promise.all(Array.from({ length: atOnce }, (_, next) => run(first + next)));
        }
      });
    }
  });
}

it('a replica that stands still in mid-write for longer than its lease lasts', {
  skip: skipWithout('valkey'),
}, async (t) => {
  requirePeers('valkey');
  const [valkey, server] = await Promise.all([startValkey(), startFaultRegistry({ etag: 'ignored' })]);
  t.after(() => Promise.all([valkey.stop(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const reference = `${server.host}/acme/app:v1`;
  const leases = await openLeases(valkey);
  const registry = clientFor(server.host, undefined, 3, { settleMs, lease: leases[0] });
  t.after(() => Promise.all([registry.close(), ...leases.map((lease) => lease.close())]));
  const image = await resolve(registry, reference);
  const sure = (name: string) => registry.attach(image, layer(name), undefined, within(deadlineMs));
  const found = async (): Promise<string[]> =>
    (await registry.attachments(image, undefined, within(deadlineMs)))
      .map(({ annotations }) => annotations['dev.cosignproject.cosign/signature'] ?? '')
      .sort();
  await sure('before');
  await new Promise((done) => setTimeout(done, durationMs));

  const late = { kind: 'late', ms: durationMs + 5_000 } as const;
  server.script({ method: 'PUT', path: /manifests\/sha256-[0-9a-f]+\.sig$/, times: 1, fault: late });
  server.seen.length = 0;
  const program = join(import.meta.dirname, 'lease-signer.ts');
  const stalled = spawn(process.execPath, [program, valkey.url, reference, String(durationMs), 'late'], {
    stdio: 'inherit',
  });
  t.after(() => stalled.kill('SIGKILL'));
  await eventually(() => assert.ok(server.seen.some(({ method, url }) => method === 'PUT' && url.endsWith('.sig'))));
  stalled.kill('SIGSTOP');
  await sure('sure');
  assert.deepEqual(await found(), ['before', 'sure']);
  await eventually(async () => assert.deepEqual(await found(), ['before', 'late']));
  stalled.kill('SIGCONT');
  assert.deepEqual(await once(stalled, 'exit'), [0, null]);
  await eventually(async () => assert.deepEqual(await found(), ['before', 'late', 'sure']));
});

describe('50 signers in two replicas while Valkey is killed and started anew', { skip: skipWithout('valkey') }, () => {
  /** Tries again what may pass, as a caller does. */
  const persistent = (replica: RegistryPort): RegistryPort => ({
    ...replica,
    attach: async (...asked) => {
      for (let tries = 1; ; tries++) {
        try {
          return await replica.attach(...asked);
        } catch (error) {
          if (!(error instanceof CountersignError) || error.retryAfterMs === undefined || tries === 20) throw error;
          await new Promise((done) => setTimeout(done, error.retryAfterMs));
        }
      }
    },
  });

  for (const [layout, sealed] of layouts) {
    it(`${layout}: 50 of 50, 3 times`, async (t) => {
      requirePeers('valkey');
      const random = seeded(5);
      const delayMs = () => random() * 30;
      const server = await startRegistry({ referrers: false, etag: 'ignored', delayMs });
      t.after(() => server.close());
      let valkey = await startValkey();
      t.after(() => valkey.stop());
      const leases = await openLeases(valkey);
      t.after(() => Promise.all(leases.map((lease) => lease.close())));
      await new Promise((done) => setTimeout(done, durationMs));
      for (const index of [0, 1, 2]) {
        const repository = `acme/${layout}${index}`;
        await pushImage(server.host, repository, 'v1');
        const clients = leases.map((lease) => clientFor(server.host, undefined, 3, { settleMs, lease }));
        const reader = clientFor(server.host);
        const reference = `${server.host}/${repository}:v1`;
        const replicas = clients.map(persistent);
        const signing = signConcurrently({ reference, sealed, replicas, reader, random, withinMs: 1_000, deadlineMs });
        signing.catch(() => undefined);
        await new Promise((done) => setTimeout(done, 200 + random() * 500));
        await valkey.crash();
        valkey = await startValkey({ port: valkey.port });
        assert.deepEqual(await signing, new Set([layout]));
        await Promise.all([...clients, reader].map((client) => client.close()));
      }
    });
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openLocalKey } from '../../src/keys/local.ts';
import { localSettings } from '../../src/keys/local/settings.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { ResolvedImage } from '../../src/model/subject.ts';
import { observeKeys, observeLease, observeRegistry } from '../../src/observed.ts';
import { createLease } from '../../src/registry/leases/hold.ts';
import type { Registry } from '../../src/registry/port.ts';
import { telemetrySettings } from '../../src/telemetry/settings.ts';
import { startTelemetry } from '../../src/telemetry/start.ts';
import { createFakeLeaseStore } from '../registry/fake-lease-store.ts';
import { startCollector } from './collector.ts';

const refuse = (): Promise<never> => Promise.reject(new CountersignError('unavailable', 'OUT_OF_REACH', 'no'));
const registry: Registry = {
  resolve: refuse,
  attach: refuse,
  attachments: async () => [],
  present: refuse,
  nested: refuse,
  layouts: () => ({ layouts: ['referrer'], otherLayout: 'written' }),
  close: async () => undefined,
};
const image = (host: string): ResolvedImage => ({
  registry: host,
  repository: 'acme/app',
  descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: `sha256:${'ab'.repeat(32)}`, size: 1 },
});

const release = (): void => {};
const { description } = await openLocalKey(
  localSettings.parse({ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }),
);

/** The spans of some work: name, kind and attributes. */
const spansOf = async (work: () => Promise<unknown>) => {
  const collector = await startCollector();
  const settings = telemetrySettings.parse({ traces: { endpoint: collector.endpoint } });
  const telemetry = await startTelemetry(settings, { version: '1.2.3' });
  await work();
  await telemetry.shutdown();
  await collector.close();
  return collector.spans.map(({ name, kind, attributes }) => ({
    name,
    kind,
    ...Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]])),
  }));
};
const client = 3;

test('registry spans are those of a client, with the host that is asked: the one of the signatures where they lie elsewhere', async (t) => {
  const { context, dispose } = openContext('test', 10_000);
  t.after(dispose);
  const observed = observeRegistry(registry);
  const spans = await spansOf(async () => {
    await observed.attachments(image('registry.example'), undefined, context);
    await observed.attachments(image('registry.example'), 'signatures.example:5000/acme/app', context);
    await observed.attachments(image('[::1]:5000'), undefined, context);
    const reference = { registry: 'ghcr.io', repository: 'acme/app', tag: 'v1', digest: undefined };
    await assert.rejects(observed.resolve(reference, context));
  });
  const read = { name: 'registry.read', kind: client };
  assert.deepEqual(spans, [
    { ...read, 'server.address': 'registry.example' },
    { ...read, 'server.address': 'signatures.example', 'server.port': 5000 },
    { ...read, 'server.address': '::1', 'server.port': 5000 },
    { name: 'registry.resolve', kind: client, 'server.address': 'ghcr.io', 'error.type': 'OUT_OF_REACH' },
  ]);
});

test('key spans are those of a client, with the backend of a configured key and no name that a caller made up', async (t) => {
  const { context, dispose } = openContext('test', 10_000);
  t.after(dispose);
  const keys = observeKeys(
    {
      describe: refuse,
      hold: async () => ({
        description,
        member: 'release',
        sign: refuse,
        signMany: refuse,
        failsOver: () => false,
        release,
      }),
    },
    [{ name: 'release', kind: 'vault' }],
  );
  const toSign = { kind: 'message', message: new Uint8Array(1) } as const;
  const spans = await spansOf(async () => {
    const held = await keys.hold('release', context);
    await assert.rejects(held.sign(toSign, context));
    await assert.rejects(held.signMany([toSign, toSign], context));
    await assert.rejects(keys.describe('made-up', context));
  });
  const failed = { kind: client, 'error.type': 'OUT_OF_REACH' };
  const ofRelease = { 'countersign.key': 'release', 'countersign.key.backend': 'vault' };
  assert.deepEqual(spans, [
    { name: 'key.open', kind: client, ...ofRelease },
    { name: 'key.sign', ...failed, ...ofRelease },
    { name: 'key.sign', ...failed, ...ofRelease },
    { name: 'key.open', ...failed, 'countersign.key': '' },
  ]);
});

test('a lease is a span of a client, which says nothing of the tag; one that cannot be had fails it', async (t) => {
  const { context, dispose } = openContext('test', 10_000);
  t.after(dispose);
  const store = createFakeLeaseStore();
  const lease = observeLease(createLease(store, { durationMs: 10_000, waitMs: 10_000 }));
  const spans = await spansOf(async () => {
    assert.equal(await lease.hold('registry.example/acme/app:tag', context, async () => ({})), 'certain');
    store.fail(['take']);
    await assert.rejects(
      lease.hold('tag', context, async () => ({})),
      { reason: 'LEASE_UNAVAILABLE' },
    );
  });
  assert.deepEqual(
    spans.map(({ name, kind }) => ({ name, kind })),
    [
      { name: 'registry.lease', kind: client },
      { name: 'registry.lease', kind: client },
    ],
  );
  assert.ok(!JSON.stringify(spans).includes('acme'));
});

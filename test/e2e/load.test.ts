// Many at once: answered correctly, refused early when it is too much, and not held up by one slow dependency.
import assert from 'node:assert/strict';
import { createPublicKey, verify } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { type FaultRegistry, startFaultRegistry } from '../registry/fault-registry.ts';
import { startServiceWorld } from '../service-world.ts';
import { assertComplete, assertSound, readTrail } from './audit-trail.ts';
import { assertRefused, assertSigned, type Edges, type Expected, openEdges, type Outcome } from './both-edges.ts';

const start = async (t: TestContext, registries: number, limits: object = {}) => {
  const fakes: FaultRegistry[] = await Promise.all(Array.from({ length: registries }, () => startFaultRegistry()));
  const world = await startServiceWorld({
    plainHttpHosts: fakes.map(({ host }) => host),
    keys: [{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    settings: { limits },
  });
  const open: Edges[] = [];
  const connect = (): Edges => {
    const edges = openEdges(world);
    open.push(edges);
    return edges;
  };
  t.after(async () => {
    for (const edges of open) edges.close();
    await world.stop();
    await Promise.all(fakes.map((registry) => registry.close()));
  });
  return { world, registries: fakes, connect };
};

const blob = (index: number) => ({
  subject: { blob: { name: `blob-${index}`, content: Buffer.from(`content ${index}`).toString('base64') } },
  key: 'release',
});
const image = (registry: FaultRegistry | undefined, name: string) => ({
  subject: { image: `${registry?.host}/acme/${name}:v1` },
  key: 'release',
  formats: ['FORMAT_BUNDLE'],
  ifAbsent: false,
});

test('100 clients at once over both edges: each gets the answer to its own request', async (t) => {
  const { world, registries, connect } = await start(t, 1);
  const [registry] = registries;
  const pushed = await Promise.all(
    Array.from({ length: 10 }, (_, index) => pushImage(registry?.host ?? '', `acme/app-${index}`, 'v1')),
  );
  const key = createPublicKey(await world.publicKey('release'));
  const outcomes = await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      // Each with a connection of its own.
      const edges = connect();
      const call = index % 2 === 0 ? edges.grpc : edges.rest;
      const first = await call('/v1/sign', blob(index));
      const signedBlob = assertSigned(first, `blob ${index}`);
      const signature = Buffer.from(signedBlob.outputs[0]?.signature ?? '', 'base64');
      assert.ok(verify('sha256', Buffer.from(`content ${index}`), key, signature), `the signature of blob ${index}`);
      const second = await call('/v1/sign', image(registry, `app-${index % 10}`));
      const signedImage = assertSigned(second, `image ${index % 10}`);
      assert.equal(signedImage.digest, pushed[index % 10]?.digest);
      assert.equal(signedImage.outputs[0]?.stored?.repository, `${registry?.host}/acme/app-${index % 10}`);
      return [first, second];
    }),
  );
  const ids = outcomes.flat().map(({ requestId }) => requestId);
  assert.equal(new Set(ids).size, 200);
  const records = await assertComplete(world.auditFile, ids);
  assert.equal(records.length, 400);
  const manifests = outcomes.flat().map(({ signed }) => signed?.outputs[0]?.stored?.digest);
  assert.equal(new Set(manifests).size, 101, '100 signatures of their own, and those of blobs nowhere');
});

const overloaded: Expected = { code: 'resource_exhausted', reason: 'OVERLOADED', retry: { min: 1, max: 5_000 } };

test('what is beyond places and queue is refused at once; what waits is served', async (t) => {
  const { world, registries, connect } = await start(t, 1, { maxInFlight: 3, maxQueued: 3 });
  const [registry] = registries;
  await pushImage(registry?.host ?? '', 'acme/app', 'v1');
  const edges = connect();
  assertSigned(await edges.grpc('/v1/sign', image(registry, 'app')), 'warm');
  registry?.script({ method: 'HEAD', path: /manifests/, times: 3, fault: { kind: 'delay', ms: 5_000 } });
  const seen = registry?.requests.length ?? 0;
  const token = await world.token();
  const held = Array.from({ length: 3 }, () => edges.grpc('/v1/sign', image(registry, 'app'), { token }));
  const started = performance.now();
  while ((registry?.seen.filter(({ method }) => method === 'HEAD').length ?? 0) < 4) {
    assert.ok(performance.now() - started < 4_000, 'three requests are held up');
    await new Promise(setImmediate);
  }
  const queued = Array.from({ length: 3 }, () => edges.grpc('/v1/sign', image(registry, 'app'), { token }));
  // One connection keeps its order: these come after those three.
  const refused: Outcome[] = await Promise.all(
    Array.from({ length: 5 }, () => edges.grpc('/v1/sign', blob(1), { token })),
  );
  refused.push(...(await Promise.all(Array.from({ length: 5 }, () => edges.rest('/v1/sign', blob(1), { token })))));
  for (const outcome of refused) {
    assertRefused(outcome, overloaded, 'beyond the queue');
    assert.ok(outcome.ms < 500, `${outcome.ms} ms`);
  }
  const live = await fetch(`http://${world.service.addresses.admin}/livez`);
  assert.equal(live.status, 200, await live.text());
  const served = await Promise.all([...held, ...queued]);
  for (const outcome of served) assertSigned(outcome, 'held or queued');
  assert.ok((registry?.requests.length ?? 0) > seen);
  for (const outcome of await edges.both('/v1/sign', blob(2))) assertSigned(outcome, 'afterwards');
  const mentioned = new Set(readTrail(world.auditFile).map(({ requestId }) => requestId));
  assert.ok(
    refused.every(({ requestId }) => !mentioned.has(requestId)),
    'what was refused was not begun',
  );
  assertSound(readTrail(world.auditFile));
});

test('one registry that hangs does not hold up the others', async (t) => {
  const { world, registries, connect } = await start(t, 2, { maxRequestMs: 6_000 });
  const [slow, fast] = registries;
  await Promise.all([slow, fast].map((registry) => pushImage(registry?.host ?? '', 'acme/app', 'v1')));
  const edges = connect();
  for (const registry of [slow, fast]) assertSigned(await edges.grpc('/v1/sign', image(registry, 'app')), 'warm');
  slow?.script({ path: /./, fault: { kind: 'hang' } });
  // More than the connections that are kept to one host.
  const stuck = Array.from({ length: 50 }, (_, index) =>
    edges[index % 2 === 0 ? 'grpc' : 'rest']('/v1/sign', image(slow, 'app')),
  );
  const others = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      edges[index % 2 === 0 ? 'grpc' : 'rest']('/v1/sign', index % 4 < 2 ? image(fast, 'app') : blob(index)),
    ),
  );
  for (const outcome of others) {
    assertSigned(outcome, 'another dependency');
    assert.ok(outcome.ms < 5_000, `${outcome.edge} ${outcome.ms} ms`);
  }
  const ended = await Promise.all(stuck);
  for (const outcome of ended) {
    assertRefused(outcome, { code: 'deadline_exceeded', reason: 'DEADLINE_EXCEEDED', retry: false }, 'stuck');
    assert.ok(outcome.ms < 10_000, `${outcome.ms} ms`);
  }
  await assertComplete(
    world.auditFile,
    [...others, ...ended].map(({ requestId }) => requestId),
  );
});

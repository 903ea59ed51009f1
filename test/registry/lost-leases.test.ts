// Writers at one tag of a registry that looks at no condition, whose leases are lost: no signature is.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { createLease } from '../../src/registry/leases/hold.ts';
import { eventually } from './credential-world.ts';
import { createFakeLeaseStore } from './fake-lease-store.ts';
import { startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

const settleMs = 1_200;
/** Answers that did not settle come sooner, on a slow machine, too. */
const atOnceMs = 1_000;

const open = async (t: TestContext, durationMs = 10_000) => {
  const server = await startFaultRegistry({ etag: 'ignored', referrers: true });
  const store = createFakeLeaseStore();
  const replicas = [0, 1].map(() => {
    const lease = createLease(store, { durationMs, waitMs: 10_000 });
    return clientFor(server.host, undefined, 3, { settleMs, lease });
  });
  t.after(() => Promise.all([...replicas.map((replica) => replica.close()), server.close()]));
  const [stale, other] = replicas;
  assert.ok(stale && other);
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(other, `${server.host}/acme/app:v1`);
  const tag = tagOf(image.descriptor.digest, '.sig');
  const attach = (replica: typeof stale, name: string, ms = 10_000) =>
    replica.attach(image, layer(name), undefined, within(ms));
  const found = async (): Promise<string[]> =>
    (await other.attachments(image, undefined, within(5_000)))
      .map(({ annotations }) => annotations['dev.cosignproject.cosign/signature'] ?? '')
      .sort();
  const puts = () => server.seen.filter(({ method, url }) => method === 'PUT' && url.endsWith(tag)).length;
  /** The next writing of the tag reaches the registry so late. */
  const slowPut = (ms: number) =>
    server.script({ method: 'PUT', path: new RegExp(`manifests/${tag}`), times: 1, fault: { kind: 'late', ms } });
  return { server, store, image, tag, stale, other, attach, found, puts, slowPut };
};

const until = (holds: () => boolean | Promise<boolean>): Promise<void> =>
  eventually(async () => assert.ok(await holds()));

const times = async (attached: Promise<unknown>): Promise<number> => {
  const started = performance.now();
  await attached;
  return performance.now() - started;
};

describe('a writer that has lost its lease lands after another one was sure of its own', () => {
  test('what was overwritten is written again, and both are answered', async (t) => {
    const { store, stale, other, attach, found, puts, slowPut } = await open(t);
    await attach(other, 'before');
    const before = puts();
    slowPut(1_000);
    const late = attach(stale, 'late');
    await until(() => puts() > before);
    store.forget('unseen');
    assert.ok((await times(attach(other, 'sure'))) < atOnceMs);
    assert.deepEqual(await found(), ['before', 'sure']);
    await late;
    await until(async () => (await found()).length === 3);
    assert.deepEqual(await found(), ['before', 'late', 'sure']);
  });

  test('also when nobody waits for the late one any more', async (t) => {
    const { store, stale, other, attach, found, puts, slowPut } = await open(t);
    await attach(other, 'before');
    const before = puts();
    slowPut(1_000);
    const late = attach(stale, 'late', 500);
    await until(() => puts() > before);
    store.forget('unseen');
    await attach(other, 'sure');
    await assert.rejects(late, (error: CountersignError) => {
      assert.match(error.metadata['stored'] ?? '', /@sha256:[0-9a-f]{64}$/);
      return isError('deadline_exceeded')(error);
    });
    await until(async () => (await found()).includes('late') && (await found()).includes('sure'));
    assert.deepEqual(await found(), ['before', 'late', 'sure']);
  });

  test('also when a third one has written over it by then', async (t) => {
    const { server, store, image, tag, stale, other, attach, found, puts, slowPut } = await open(t);
    await attach(other, 'before');
    const before = puts();
    slowPut(1_000);
    const late = attach(stale, 'late');
    await until(() => puts() > before);
    store.forget('unseen');
    await attach(other, 'sure');
    // The third one has the lease when the late write lands, and until it has written.
    const name = `${server.host}/acme/app:${tag}`;
    assert.ok(await store.take(name, 'third', 60_000));
    await until(async () => (await found()).includes('late'));
    const third = clientFor(server.host, undefined, 3, { settleMs: 1 });
    t.after(() => third.close());
    const { digest } = await third.attach(image, layer('third'), undefined, within(10_000));
    assert.deepEqual(await found(), ['before', 'late', 'third']);
    await store.give(name, 'third', { note: digest }, 60_000);
    await late;
    await until(async () => (await found()).length === 4);
    assert.deepEqual(await found(), ['before', 'late', 'sure', 'third']);
  });

  test('also when it has given its write up and written again before the first one lands', async (t) => {
    const { store, stale, other, attach, found, puts, slowPut } = await open(t, 3 * settleMs);
    await attach(other, 'before');
    const before = puts();
    // The lease is found to be lost, and the request ended, well before.
    slowPut(settleMs + 100);
    const late = attach(stale, 'late');
    await until(() => puts() > before);
    store.forget('unseen');
    await attach(other, 'sure');
    await late;
    await until(async () => (await found()).length === 3);
    await new Promise((done) => setTimeout(done, settleMs));
    assert.deepEqual(await found(), ['before', 'late', 'sure']);
  });

  test('what was removed meanwhile does not come back', async (t) => {
    const { server, store, stale, other, attach, puts, slowPut, tag } = await open(t);
    await attach(other, 'before');
    const before = puts();
    slowPut(1_000);
    const late = attach(stale, 'late', 500);
    await until(() => puts() > before);
    store.forget('unseen');
    await attach(other, 'sure');
    const gone = { kind: 'answer', status: 404 } as const;
    server.script({ method: 'GET', path: new RegExp(`manifests/${tag}`), fault: gone });
    await assert.rejects(late, isError('deadline_exceeded'));
    await until(() => store.done.some(({ operation }) => operation === 'noted'));
    await until(() => store.holders.size === 0);
    // Two that were asked for, and the late one once more when it was done.
    assert.equal(puts(), before + 3);
  });
});

describe('the store was started anew', () => {
  test('for one length of a lease writes settle, and then they do not', async (t) => {
    const { store, other, attach, found } = await open(t, 3 * settleMs);
    store.forget('seen');
    assert.ok((await times(attach(other, 's1'))) >= settleMs);
    await new Promise((done) => setTimeout(done, 3 * settleMs));
    assert.ok((await times(attach(other, 's2'))) < atOnceMs);
    assert.deepEqual(await found(), ['s1', 's2']);
  });

  test('in the middle of a write: it settles, and nothing is lost', async (t) => {
    const { store, stale, other, attach, found, puts, slowPut } = await open(t);
    await attach(other, 'before');
    const before = puts();
    slowPut(1_000);
    const late = attach(stale, 'late');
    await until(() => puts() > before);
    store.forget('seen');
    await Promise.all([late, attach(other, 'settled')]);
    await until(async () => (await found()).length === 3);
    assert.deepEqual(await found(), ['before', 'late', 'settled']);
  });
});

describe('the store is away', () => {
  test('a signature at a tag fails, may be tried again, and nothing was written there', async (t) => {
    const { store, other, attach, found, puts } = await open(t);
    store.fail(['take', 'keep', 'give']);
    await assert.rejects(attach(other, 's1'), (error: CountersignError) => {
      assert.equal(error.retryAfterMs, 1_000);
      return isError('unavailable', 'LEASE_UNAVAILABLE')(error);
    });
    assert.equal(puts(), 0);
    store.fail([]);
    await attach(other, 's1');
    assert.deepEqual(await found(), ['s1']);
  });

  test('a bundle where referrers are listed needs none', async (t) => {
    const { store, image, other } = await open(t);
    store.fail(['take', 'keep', 'give']);
    assert.equal((await other.attach(image, bundle('b1'), undefined, within(10_000))).by, 'referrer');
  });

  test('it goes away after the write: that settles without it', async (t) => {
    const { store, other, attach, found, puts, slowPut } = await open(t);
    slowPut(300);
    const attached = attach(other, 's1');
    await until(() => puts() > 0);
    store.fail(['take', 'keep', 'give']);
    assert.ok((await times(attached)) >= settleMs);
    assert.deepEqual(await found(), ['s1']);
  });
});

test('a write whose answer does not come keeps the lease for the settling time', async (t) => {
  const { server, store, tag, other, attach, found } = await open(t);
  server.script({ method: 'PUT', path: new RegExp(`manifests/${tag}`), times: 1, fault: { kind: 'reset-after' } });
  await attach(other, 's1');
  const lingered = store.done.filter(({ operation, lingerMs }) => operation === 'give' && lingerMs !== 0);
  assert.deepEqual(
    lingered.map(({ lingerMs }) => lingerMs),
    [settleMs],
  );
  assert.deepEqual(await found(), ['s1']);
});

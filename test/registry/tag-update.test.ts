// What writers at tags do to each other, one interleaving at a time; test/registry/concurrent-writers.test.ts has the crowd.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import { repositoryClient } from '../../src/dev/registry/client.ts';
import type { CountersignError } from '../../src/model/error.ts';
import type { Lease } from '../../src/registry/lease.ts';
import { type FaultRegistry, startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

const settleMs = 300;

/** An image in a registry, a client of ours, and somebody else who overwrites its `.sig` tag without looking. */
const open = async (t: TestContext, options: DevRegistryOptions, settle = settleMs) => {
  const server = await startFaultRegistry(options);
  const registry = clientFor(server.host, undefined, 3, { settleMs: settle });
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const tag = tagOf(image.descriptor.digest, '.sig');
  const others = repositoryClient(server.host, 'acme/app');
  const attach = (name: string, ms = 10_000) => registry.attach(image, layer(name), undefined, within(ms));
  /** Makes the tag hold these signatures and no others. */
  const overwrite = async (...names: string[]): Promise<void> => {
    const config = await others.putBlob(Buffer.from('{}'));
    const layers = await Promise.all(
      names.map(async (name) => {
        const { mediaType, content, attachment } = layer(name);
        const digest = await others.putBlob(Buffer.from(content));
        return { mediaType, digest, size: content.byteLength, annotations: attachment.annotations };
      }),
    );
    const mediaType = 'application/vnd.oci.image.manifest.v1+json';
    const descriptor = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 };
    await others.putManifest({ mediaType, config: descriptor, layers, schemaVersion: 2 } as never, tag);
  };
  const found = async (): Promise<string[]> =>
    (await registry.attachments(image, undefined, within(5_000)))
      .map(({ annotations }) => annotations['dev.cosignproject.cosign/signature'] ?? '')
      .sort();
  return { server, registry, image, tag, attach, overwrite, found };
};

const pausing = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

const puts = (server: FaultRegistry): number =>
  server.requests.filter(({ method, kind }) => method === 'PUT' && kind === 'manifest').length;
const until = async (holds: () => boolean): Promise<void> => {
  for (let tries = 0; !holds(); tries++) {
    if (tries > 500) assert.fail('it never came');
    await pausing(5);
  }
};

describe('a registry that looks at no condition', () => {
  for (const etag of ['ignored', false] as const) {
    test(`a slower writer lands after our write was read back at once (ETag: ${etag}): nothing is lost`, async (t) => {
      const { server, attach, overwrite, found } = await open(t, { etag });
      await attach('ours before');
      server.requests.length = 0;
      const attached = attach('ours');
      await until(() => puts(server) > 0);
      await pausing(settleMs / 2);
      await overwrite('theirs');
      await attached;
      // With ours comes back what was seen beside it.
      assert.deepEqual(await found(), ['ours', 'ours before', 'theirs']);
    });
  }

  test('an old reading is not written from', async (t) => {
    const { server, attach, overwrite, found } = await open(t, { etag: false });
    // The first upload is the signature, the second the config of the image that is about to be written.
    server.script({ method: 'POST', path: /uploads/, skip: 1, times: 1, fault: { kind: 'delay', ms: settleMs } });
    const attached = attach('ours');
    await until(() => server.requests.some(({ method, kind }) => method === 'GET' && kind === 'manifest'));
    await pausing(settleMs / 3);
    await overwrite('theirs');
    await attached;
    assert.deepEqual(await found(), ['ours', 'theirs']);
  });

  test('an answer comes when the write has settled, for many at once', async (t) => {
    const { server, attach } = await open(t, { etag: false });
    const started = performance.now();
    await Promise.all(['s1', 's2', 's3', 's4'].map((name) => attach(name)));
    const took = performance.now() - started;
    assert.ok(took >= settleMs && took < 3 * settleMs, `took ${took} ms`);
    assert.ok(puts(server) <= 4 + 2, `${puts(server)} writes, of which 3 are the image's`);
  });

  test('settleMs 0: at once', async (t) => {
    const { attach, found } = await open(t, { etag: false }, 0);
    const started = performance.now();
    await attach('s1');
    assert.ok(performance.now() - started < settleMs);
    assert.deepEqual(await found(), ['s1']);
  });

  test('whoever leaves before that is told what was stored', async (t) => {
    const { attach, server, tag } = await open(t, { etag: false });
    await assert.rejects(attach('s1', 200), (error: CountersignError) => {
      assert.match(error.metadata['stored'] ?? '', new RegExp(`^${server.host}/acme/app@sha256:[0-9a-f]{64}$`));
      assert.ok(error.message.includes(tag), error.message);
      return isError('deadline_exceeded')(error);
    });
  });

  test('a tag that others keep overwriting: bounded tries, and the error names what was stored', async (t) => {
    const { attach, server, tag } = await open(t, { etag: false }, 10);
    server.requests.length = 0;
    server.script({ method: 'GET', path: new RegExp(`manifests/${tag}`), fault: { kind: 'answer', status: 404 } });
    await assert.rejects(attach('s1', 60_000), (error: CountersignError) => {
      assert.match(error.metadata['stored'] ?? '', /@sha256:[0-9a-f]{64}$/);
      return isError('unavailable', 'TAG_CONTENDED')(error);
    });
    assert.equal(puts(server), 10);
  });
});

describe('a registry that honours conditions', () => {
  test('that is learnt with the first write, whether it creates or adds, and then one write is enough', async (t) => {
    const { server, attach, overwrite, found } = await open(t, { etag: true });
    await overwrite('theirs');
    for (const [name, writes] of [
      ['s1', 3],
      ['s2', 1],
    ] as const) {
      const before = puts(server);
      const started = performance.now();
      await attach(name);
      // Those that were refused are seen here as well.
      assert.equal(puts(server) - before, writes);
      assert.ok(performance.now() - started < settleMs);
    }
    assert.deepEqual(await found(), ['s1', 's2', 'theirs']);
  });

  test('one that ignores them costs no write more', async (t) => {
    const { server, attach } = await open(t, { etag: 'ignored' }, 50);
    const before = puts(server);
    await attach('s1');
    await attach('s2');
    assert.equal(puts(server) - before, 2);
  });

  test('a reading that others made old is made again', async (t) => {
    const { server, attach, overwrite, found } = await open(t, { etag: true });
    await attach('s1');
    server.script({ method: 'POST', path: /uploads/, skip: 1, times: 1, fault: { kind: 'delay', ms: 200 } });
    const attached = attach('s2');
    await pausing(100);
    await overwrite('s1', 'theirs');
    await attached;
    assert.deepEqual(await found(), ['s1', 's2', 'theirs']);
  });

  test('somebody who sends none overwrites: written again, and trusted no longer', async (t) => {
    const { server, tag, attach, overwrite, found } = await open(t, { etag: true });
    await attach('s1');
    server.script({
      method: 'GET',
      path: new RegExp(`manifests/${tag}`),
      skip: 1,
      times: 1,
      fault: { kind: 'delay', ms: 200 },
    });
    const attached = attach('s2');
    await pausing(100);
    await overwrite('theirs');
    await attached;
    assert.deepEqual(await found(), ['s1', 's2', 'theirs']);
    const started = performance.now();
    await attach('s3');
    assert.ok(performance.now() - started >= settleMs);
  });

  test('a tag that may not be overwritten: 412 whatever is asked', async (t) => {
    const { server, tag, attach, overwrite } = await open(t, { etag: 'ignored' });
    await overwrite('theirs');
    server.script({ method: 'PUT', path: new RegExp(`manifests/${tag}`), fault: { kind: 'answer', status: 412 } });
    await assert.rejects(attach('s1'), isError('failed_precondition', 'TAG_IMMUTABLE'));
  });

  test('a registry that cannot do with conditions is asked without', async (t) => {
    const { server, tag, attach, found } = await open(t, { etag: false }, 50);
    server.script({
      method: 'PUT',
      path: new RegExp(`manifests/${tag}`),
      times: 1,
      fault: { kind: 'answer', status: 400 },
    });
    await attach('s1');
    assert.deepEqual(await found(), ['s1']);
  });
});

test('replicas that share a lease: nothing is lost, and nothing has to settle', async (t) => {
  const { server, registry, image } = await open(t, { etag: 'ignored', delayMs: () => 5 });
  const turns = new Map<string, Promise<unknown>>();
  const lease: Lease = {
    hold: async (name, context, work) => {
      const confirm = async () => 'certain' as const;
      const held = { context, confirm, noted: async () => [] };
      const mine = (turns.get(name) ?? Promise.resolve()).then(() => work(held));
      turns.set(
        name,
        mine.catch(() => undefined),
      );
      await mine;
      return 'certain';
    },
    close: async () => undefined,
  };
  const replicas = [0, 1].map(() => clientFor(server.host, undefined, 3, { settleMs: 60_000, lease }));
  t.after(() => Promise.all(replicas.map((replica) => replica.close())));
  const names = Array.from({ length: 20 }, (_, index) => `s${index}`);
  const attach = (name: string, index: number) =>
    (replicas[index % 2] ?? assert.fail()).attach(image, layer(name), undefined, within(10_000));
  await Promise.all(names.map(attach));
  assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 20);
});

describe('whether a registry lists referrers', () => {
  test('is learnt anew when its header says otherwise than before', async (t) => {
    const { server, registry, image } = await open(t, { referrers: true }, 20);
    const attach = async (name: string) => (await registry.attach(image, bundle(name), undefined, within(10_000))).by;
    const asked = () => server.seen.filter(({ url }) => url.includes('/referrers/')).length;
    assert.equal(await attach('b1'), 'referrer');
    assert.equal(asked(), 1);
    assert.equal(await attach('b2'), 'referrer');
    assert.equal(asked(), 1);

    const silent = {
      method: 'PUT',
      path: /manifests/,
      fault: { kind: 'headers', headers: { 'oci-subject': undefined } },
    } as const;
    server.script(silent, { path: /referrers/, fault: { kind: 'answer', status: 404 } });
    assert.equal(await attach('b3'), 'fallback-tag');
    assert.equal(await attach('b4'), 'fallback-tag');
    assert.equal(asked(), 2);
    server.script();
    assert.equal(await attach('b5'), 'referrer');
    assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 5);
  });

  test('a reader sees that it does not any more', async (t) => {
    const { server, registry, image } = await open(t, { referrers: true }, 20);
    await registry.attach(image, bundle('b1'), undefined, within(5_000));
    server.script({ path: /referrers/, fault: { kind: 'answer', status: 404 } });
    assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 0);
    const stored = await registry.attach(image, bundle('b2'), undefined, within(5_000));
    assert.equal(stored.by, 'fallback-tag');
    assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 1);
  });

  test('an API that lists nothing: the fallback tag is written, and read', async (t) => {
    const { server, registry, image } = await open(t, { referrers: true }, 20);
    const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
    server.script(
      {
        path: /referrers/,
        fault: { kind: 'answer', status: 200, headers, body: '{"schemaVersion":2,"manifests":[]}' },
      },
      { method: 'PUT', path: /manifests/, fault: { kind: 'headers', headers: { 'oci-subject': undefined } } },
    );
    const stored = await registry.attach(image, bundle('b1'), undefined, within(10_000));
    assert.equal(stored.by, 'fallback-tag');
    for (const _ of [1, 2]) {
      assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 1);
    }
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fallbackIndex } from '../../src/registry/fallback-index.ts';
import { createTagUpdater } from '../../src/registry/tag-update.ts';
import { unlist } from '../../src/transfer/unlist.ts';
import { context, ociManifest, registries, registry, repository } from './world.ts';

const writers = 3;
const each = 8;
const settleMs = 1_500;

describe('entries taken out of a fallback index', () => {
  for (const etag of [true, 'ignored'] as const) {
    it(`while others are added by ${writers} processes: all of these stay, conditions ${etag === true ? 'honoured' : 'ignored'}`, async (test) => {
      const { host } = await registry(test, { referrers: false, etag });
      const there = repository(host, 'acme/app');
      const subject = await there.image('app', 'v1');
      const old = await Promise.all(['a', 'b', 'c'].map((content) => there.bundle(subject, content)));
      await there.fallback(subject, old);
      const target = { registry: host, repository: 'acme/app' };
      const live = context(test);

      const entry = async (content: string) => {
        const digest = await there.bundle(subject, content);
        return { mediaType: ociManifest, digest, size: (await there.manifest(digest)).size };
      };
      const added: string[] = [];
      const adding = Array.from({ length: writers }, (_, writer) => {
        // Parts of its own, as another process has them.
        const { manifests, blobs, conditional, transport } = registries(test);
        const ports = { manifests, blobs, conditional, lease: undefined, mayRetry: transport.mayRetry };
        const update = createTagUpdater(ports, fallbackIndex, settleMs);
        return Array.from({ length: each }, async (__, at) => {
          const one = await entry(`${writer} ${at}`);
          added.push(one.digest);
          await update(target, subject.replace(':', '-'), one, live);
        });
      });
      const removing = old.map((digest) =>
        unlist(registries(test), { target, subject, gone: new Set([digest]) }, settleMs, live),
      );
      await Promise.all([...adding.flat(), ...removing]);
      // Whoever has read them last may list them once more; what was added is never lost.
      for (const digest of old)
        await unlist(registries(test), { target, subject, gone: new Set([digest]) }, settleMs, live);
      const { manifests } = (await there.manifest(subject.replace(':', '-'))).manifest;
      assert.deepEqual(manifests?.map(({ digest }) => digest).sort(), added.sort());
    });
  }

  it('where the registry refuses an index of what is not there any more: that goes as well', async (test) => {
    const { host } = await registry(test, { referrers: false });
    const there = repository(host, 'acme/app');
    const subject = await there.image('app', 'v1');
    const [one = assert.fail(), lost = assert.fail(), kept = assert.fail()] = await Promise.all(
      ['one', 'lost', 'kept'].map((content) => there.bundle(subject, content)),
    );
    await there.fallback(subject, [one, lost, kept]);
    const parts = registries(test);
    const target = { registry: host, repository: 'acme/app' };
    await parts.manifests.remove(target, lost, context(test));
    const taken = await unlist(parts, { target, subject, gone: new Set([one]) }, settleMs, context(test));
    assert.deepEqual([...taken], [one]);
    const { manifests } = (await there.manifest(subject.replace(':', '-'))).manifest;
    assert.deepEqual(
      manifests?.map(({ digest }) => digest),
      [kept],
    );
  });
});

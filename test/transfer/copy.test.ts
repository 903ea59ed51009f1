import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { DevRegistry } from '../../src/dev/registry.ts';
import type { Digest } from '../../src/model/digest.ts';
import { copy, type CopyOptions } from '../../src/transfer/copy.ts';
import { findPlatform } from '../../src/transfer/find-platform.ts';
import { gather } from '../../src/transfer/gather.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { repositorySink } from '../../src/transfer/repository-sink.ts';
import { context, type Everything, pushEverything, registries, registry, repository } from './world.ts';

const writes = (of: DevRegistry): number =>
  of.requests.filter(({ method }) => !['GET', 'HEAD'].includes(method)).length;

const copied = async (
  test: TestContext,
  from: DevRegistry,
  to: DevRegistry,
  digest: Digest,
  more: Partial<Pick<CopyOptions, 'only' | 'force' | 'tag'>> & { readonly name?: string } = {},
) => {
  const parts = registries(test);
  const live = context(test);
  const source = repositorySource(parts, { registry: from.host, repository: 'acme/app' });
  const graph = await gather({ source, digest }, { attachedIn: [source] }, live);
  const sink = repositorySink(parts, { registry: to.host, repository: more.name ?? 'mirror/app' }, 50);
  return copy(graph, { image: sink, attached: sink, tag: 'v1', force: false, ...more }, live);
};

const assertArrived = async (
  to: DevRegistry,
  made: Everything,
  referrers: boolean,
  name = 'mirror/app',
): Promise<void> => {
  const there = repository(to.host, name);
  assert.equal((await there.manifest('v1')).digest, made.index);
  for (const digest of [made.amd64, made.arm64]) await there.manifest(digest);
  const tagOf = (subject: Digest, suffix: string): string => `${subject.replace(':', '-')}${suffix}`;
  assert.equal((await there.manifest(tagOf(made.index, '.sig'))).digest, made.sig);
  assert.equal((await there.manifest(tagOf(made.index, '.att'))).digest, made.att);
  assert.equal((await there.manifest(tagOf(made.index, '.sbom'))).digest, made.sbom);
  assert.equal((await there.manifest(tagOf(made.amd64, '.sig'))).digest, made.nestedSig);
  const listed = async (subject: Digest): Promise<readonly string[]> => {
    const entries = referrers
      ? await there.referrers(subject)
      : ((await there.manifest(tagOf(subject, ''))).manifest.manifests ?? []);
    return entries.map(({ digest }) => digest).sort();
  };
  assert.deepEqual(await listed(made.index), [made.bundle, made.provenance].sort());
  assert.deepEqual(await listed(made.arm64), [made.nestedBundle]);
  assert.deepEqual(await listed(made.provenance), [made.onBundle]);
};

describe('copy', () => {
  for (const from of [true, false]) {
    for (const to of [true, false]) {
      const api = (has: boolean): string => (has ? 'with' : 'without');
      it(`carries every kind and layout, from a registry ${api(from)} referrers to one ${api(to)}; the second run sends nothing`, async (test) => {
        const source = await registry(test, { referrers: from });
        const sink = await registry(test, { referrers: to });
        const made = await pushEverything(source.host, 'acme/app', from);
        const report = await copied(test, source, sink, made.index);
        await assertArrived(sink, made, to);
        assert.ok(report.manifests.every(({ outcome }) => outcome === 'copied'));
        assert.equal(report.manifests.length, 3 + 8);
        assert.ok(report.blobs.copied > 0 && report.bytes > 0);

        const before = writes(sink);
        const again = await copied(test, source, sink, made.index);
        assert.equal(writes(sink), before);
        assert.ok(again.manifests.every(({ outcome }) => outcome === 'present'));
        assert.deepEqual(again.blobs, { copied: 0, mounted: 0, present: 0 });
      });
    }
  }

  it('mounts blobs within one registry', async (test) => {
    const one = await registry(test);
    const made = await pushEverything(one.host, 'acme/app', true);
    const report = await copied(test, one, one, made.index);
    await assertArrived(one, made, true);
    assert.equal(report.blobs.copied, 0);
    assert.ok(report.blobs.mounted > 0);
  });

  it('keeps signatures that lie at the destination: tags and fallback indexes are merged', async (test) => {
    const source = await registry(test);
    const sink = await registry(test, { referrers: false });
    const made = await pushEverything(source.host, 'acme/app', true);
    await copied(test, source, sink, made.index);
    const there = repository(sink.host, 'mirror/app');
    await there.signatures(made.index, ['two', 'theirs']);
    const theirs = await there.bundle(made.index, 'theirs');
    await there.fallback(made.index, [theirs]);

    const report = await copied(test, source, sink, made.index);
    const outcome = report.manifests.find(({ tag }) => tag === `${made.index.replace(':', '-')}.sig`)?.outcome;
    assert.equal(outcome, 'merged');
    const tag = await there.manifest(`${made.index.replace(':', '-')}.sig`);
    const signatures = tag.manifest.layers?.map(
      ({ annotations }) => annotations?.['dev.cosignproject.cosign/signature'],
    );
    assert.deepEqual(signatures?.toSorted(), ['of one', 'of theirs', 'of two']);
    const index = await there.manifest(made.index.replace(':', '-'));
    const digests = index.manifest.manifests?.map(({ digest }) => digest).toSorted();
    assert.deepEqual(digests, [made.bundle, made.provenance, theirs].sort());
    const before = writes(sink);
    await copied(test, source, sink, made.index);
    assert.equal(writes(sink), before);
  });

  it('overwrites neither a tag with another image nor another SBOM, but with force', async (test) => {
    const source = await registry(test);
    const sink = await registry(test);
    const made = await pushEverything(source.host, 'acme/app', true);
    const there = repository(sink.host, 'mirror/app');
    const other = await there.image('other', 'v1');
    const before = writes(sink);
    await assert.rejects(copied(test, source, sink, made.index), { code: 'already_exists', reason: 'TAG_EXISTS' });
    assert.equal(writes(sink), before);
    assert.equal((await there.manifest('v1')).digest, other);
    const otherBill = await there.signatures(made.index, ['another bill'], 'sbom');
    await assert.rejects(copied(test, source, sink, made.index, { tag: 'v2' }), { reason: 'TAG_EXISTS' });
    assert.equal((await there.manifest(`${made.index.replace(':', '-')}.sbom`)).digest, otherBill);
    await copied(test, source, sink, made.index, { force: true });
    await assertArrived(sink, made, true);
  });

  it('goes on where it broke off', async (test) => {
    const source = await registry(test);
    const sink = await registry(test);
    const made = await pushEverything(source.host, 'acme/app', true);
    const broken = await registry(test);
    const partly = await copied(test, source, broken, made.arm64, { tag: 'part' });
    assert.ok(partly.blobs.copied > 0);
    const rest = await copied(test, source, broken, made.index);
    await assertArrived(broken, made, true);
    const whole = await copied(test, source, sink, made.index);
    assert.ok(rest.blobs.copied < whole.blobs.copied);
  });

  it('only what is attached, of the kinds that are asked for', async (test) => {
    const source = await registry(test);
    const sink = await registry(test);
    const made = await pushEverything(source.host, 'acme/app', true);
    const report = await copied(test, source, sink, made.index, { only: ['attestation'] });
    assert.deepEqual(report.manifests.map(({ digest }) => digest).toSorted(), [made.att, made.provenance].sort());
    assert.deepEqual(await repository(sink.host, 'mirror/app').tags(), [`${made.index.replace(':', '-')}.att`]);
  });

  it('one platform, with what is attached to it', async (test) => {
    const source = await registry(test);
    const sink = await registry(test);
    const made = await pushEverything(source.host, 'acme/app', true);
    const parts = registries(test);
    const from = repositorySource(parts, { registry: source.host, repository: 'acme/app' });
    const arm64 = await findPlatform(from, made.index, 'linux/arm64', context(test));
    assert.equal(arm64, made.arm64);
    await copied(test, source, sink, arm64);
    const there = repository(sink.host, 'mirror/app');
    assert.equal((await there.manifest('v1')).digest, made.arm64);
    assert.deepEqual(
      (await there.referrers(made.arm64)).map(({ digest }) => digest),
      [made.nestedBundle],
    );
    await assert.rejects(findPlatform(from, made.index, 'plan9/mips', context(test)), {
      reason: 'PLATFORM_NOT_FOUND',
      message: /linux\/amd64, linux\/arm64/,
    });
  });

  for (const etag of [true, 'ignored'] as const) {
    it(`of two SBOMs, of two repositories, one is not lost silently, conditions ${etag === true ? 'honoured' : 'ignored'}`, async (test) => {
      const [source, sink] = [await registry(test), await registry(test, { etag })];
      const [beside, apart] = [repository(source.host, 'acme/app'), repository(source.host, 'acme/signatures')];
      const digest = await beside.image('app', 'v1');
      const sboms = [await beside.signatures(digest, ['one bill'], 'sbom')];
      sboms.push(await apart.signatures(digest, ['another bill'], 'sbom'));
      const parts = registries(test);
      const sources = ['acme/app', 'acme/signatures'].map((name) =>
        repositorySource(parts, { registry: source.host, repository: name }),
      );
      const [from = assert.fail()] = sources;
      const graph = await gather({ source: from, digest }, { attachedIn: sources }, context(test));
      const to = repositorySink(parts, { registry: sink.host, repository: 'mirror/app' }, 50);
      const copying = (force: boolean) => copy(graph, { image: to, attached: to, tag: 'v1', force }, context(test));
      await assert.rejects(copying(false), { code: 'already_exists', reason: 'TAG_EXISTS' });
      const { manifests } = await copying(true);
      assert.equal(manifests.filter(({ role }) => role === 'sbom').length, 2);
      const there = await repository(sink.host, 'mirror/app').manifest(`${digest.replace(':', '-')}.sbom`);
      assert.ok(sboms.includes(there.digest));
    });
  }
});

import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Manifest } from '../../src/dev/registry/client.ts';
import type { Digest } from '../../src/model/digest.ts';
import { clean, type CleanType, planCleaning } from '../../src/transfer/clean.ts';
import { gather } from '../../src/transfer/gather.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { inFrontOf } from './front.ts';
import { context, ociManifest, pushEverything, registries, registry, repository } from './world.ts';

const cleaned = async (test: TestContext, host: string, digest: Digest, type: CleanType) => {
  const parts = registries(test);
  const source = repositorySource(parts, { registry: host, repository: 'acme/app' });
  const graph = await gather({ source, digest }, { attachedIn: [source] }, context(test));
  return (await clean(parts, planCleaning(graph, type, [graph.root]), 50, context(test))).cleaned;
};

const left = async (test: TestContext, host: string, digest: Digest): Promise<readonly Digest[]> => {
  const source = repositorySource(registries(test), { registry: host, repository: 'acme/app' });
  const graph = await gather({ source, digest }, { attachedIn: [source] }, context(test));
  assert.deepEqual(graph.ignored, []);
  return graph.attachments.map((one) => one.digest).sort();
};

/** A registry in front of which something answers DELETE itself. */
const deleting = (test: TestContext, host: string, answer: (path: string) => number | undefined): Promise<string> =>
  inFrontOf(test, host, { before: (method, path) => (method === 'DELETE' ? answer(path) : undefined) });

describe('clean', () => {
  for (const referrers of [true, false]) {
    it(`removes each type and no other, ${referrers ? 'with' : 'without'} the referrers API; the image stays`, async (test) => {
      const { host } = await registry(test, { referrers });
      const made = await pushEverything(host, 'acme/app', referrers);
      const other = await made.there.putManifest({
        ...(await made.there.manifest(made.bundle)).manifest,
        artifactType: 'application/vnd.example.thing',
        layers: [],
      } as Manifest);
      if (!referrers) await made.there.fallback(made.index, [made.bundle, made.provenance, other]);
      const nested = [made.nestedSig, made.nestedBundle];

      await cleaned(test, host, made.index, 'signature');
      assert.deepEqual(
        await left(test, host, made.index),
        [...nested, made.att, made.sbom, made.provenance, made.onBundle, other].sort(),
      );
      await cleaned(test, host, made.index, 'sbom');
      assert.deepEqual(
        await left(test, host, made.index),
        [...nested, made.att, made.provenance, made.onBundle, other].sort(),
      );
      const outcomes = await cleaned(test, host, made.index, 'attestation');
      assert.ok(outcomes.every(({ outcome }) => outcome === 'removed'));
      assert.deepEqual(await left(test, host, made.index), [...nested, other].sort());
      await cleaned(test, host, made.index, 'referrer');
      assert.deepEqual(await left(test, host, made.index), [...nested].sort());
      const there = repository(host, 'acme/app');
      assert.equal((await there.manifest('v1')).digest, made.index);
      await Promise.all([made.amd64, made.arm64].map((digest) => there.manifest(digest)));
      if (!referrers) assert.ok(!(await there.tags()).includes(made.index.replace(':', '-')));
    });
  }

  it('by digest, where the registry deletes no tags', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const front = await deleting(test, host, (path) => (path.includes('/manifests/sha256:') ? undefined : 405));
    const outcomes = await cleaned(test, front, made.index, 'all');
    assert.ok(outcomes.every(({ outcome }) => outcome === 'removed'));
    assert.deepEqual(await left(test, host, made.index), [made.nestedSig, made.nestedBundle].sort());
  });

  it('names what the registry refuses to delete; a referrer is taken out of the fallback index all the same', async (test) => {
    const { host } = await registry(test, { referrers: false });
    const made = await pushEverything(host, 'acme/app', false);
    const front = await deleting(test, host, () => 405);
    const outcomes = await cleaned(test, front, made.index, 'all');
    const of = (digest: Digest) => outcomes.find(({ attachment }) => attachment.digest === digest)?.outcome;
    assert.equal(of(made.sig), 'refused');
    assert.equal(of(made.bundle), 'unlisted');
    const still = await left(test, host, made.index);
    assert.ok(still.includes(made.sig) && !still.includes(made.bundle));
  });

  it('never deletes a manifest of the image, whatever tags lead to it', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const { manifest } = await made.there.manifest(made.amd64);
    await made.there.putManifest({ ...manifest, mediaType: ociManifest }, `${made.index.replace(':', '-')}.sig`);
    const front = await deleting(test, host, (path) => (path.includes('/manifests/sha256:') ? undefined : 405));
    const outcomes = await cleaned(test, front, made.index, 'signature');
    assert.equal(outcomes.find(({ attachment }) => attachment.digest === made.amd64)?.outcome, 'kept');
    await made.there.manifest(made.amd64);
  });
});

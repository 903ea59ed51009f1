import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { copy } from '../../src/transfer/copy.ts';
import { gather } from '../../src/transfer/gather.ts';
import { openLayoutSink } from '../../src/transfer/layout-sink.ts';
import { openLayout } from '../../src/transfer/layout-source.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { entryOf, type Index, layoutOf, load, save, saved } from './layouts.ts';
import { context, digestOf, folder, ociIndex, ociManifest, registries, registry, repository } from './world.ts';

describe('OCI layouts', () => {
  for (const referrers of [true, false]) {
    it(`saved and loaded ${referrers ? 'into a registry with' : 'into one without'} referrers, nothing is lost`, async (test) => {
      const { made, dir } = await saved(test);
      const sink = await registry(test, { referrers });
      const report = await load(test, dir, sink.host);
      assert.equal(report.manifests.length, 3 + 8);
      assert.deepEqual(report.ignored, []);
      const there = repository(sink.host, 'loaded/app');
      assert.equal((await there.manifest('v1')).digest, made.index);
      assert.equal((await there.manifest(`${made.amd64.replace(':', '-')}.sig`)).digest, made.nestedSig);
      const onBundle = referrers
        ? await there.referrers(made.provenance)
        : (await there.manifest(made.provenance.replace(':', '-'))).manifest.manifests;
      assert.deepEqual(
        onBundle?.map(({ digest }) => digest),
        [made.onBundle],
      );
    });
  }

  it('marks the image and its tags as cosign does, and saves again what is missing only', async (test) => {
    const { made, dir, index, source, blobAt } = await saved(test);
    const marked = index.manifests.map(({ digest, annotations }) => [digest, annotations?.['kind']]);
    assert.deepEqual(marked.slice(0, 3), [
      [made.index, 'dev.cosignproject.cosign/imageIndex'],
      [made.sig, 'dev.cosignproject.cosign/sigs'],
      [made.att, 'dev.cosignproject.cosign/atts'],
    ]);
    assert.ok(marked.slice(3).every(([, kind]) => kind === undefined));
    assert.equal(index.manifests[0]?.annotations?.['org.opencontainers.image.ref.name'], 'v1');
    assert.deepEqual(JSON.parse(await readFile(join(dir, 'oci-layout'), 'utf8')), { imageLayoutVersion: '1.0.0' });
    assert.deepEqual((await readdir(dir)).sort(), ['blobs', 'index.json', 'oci-layout']);

    await rm(blobAt(made.bundle));
    const layer = (await made.there.manifest(made.amd64)).manifest.layers?.[0]?.digest ?? '';
    await writeFile(blobAt(layer), 'half a laye');
    const again = await save(test, source.host, made.index, dir);
    assert.deepEqual(
      again.manifests.filter(({ outcome }) => outcome === 'copied').map(({ digest }) => digest),
      [made.bundle],
    );
    assert.equal(again.blobs.copied, 1);
    assert.equal(await readFile(blobAt(layer), 'utf8'), 'amd64');
  });

  it('signatures at one tag of two repositories are merged into the one that readers take; two SBOMs are not lost silently', async (test) => {
    const { host } = await registry(test);
    const [image, beside] = [repository(host, 'acme/app'), repository(host, 'acme/signatures')];
    const digest = await image.image('app', 'v1');
    for (const suffix of ['sig', 'att']) {
      await image.signatures(digest, ['shared', `${suffix} of one`], suffix);
      await beside.signatures(digest, ['shared', `${suffix} of another`], suffix);
    }
    const parts = registries(test);
    const sources = ['acme/app', 'acme/signatures'].map((name) =>
      repositorySource(parts, { registry: host, repository: name }),
    );
    const saving = async (dir: string, force: boolean) => {
      const [source = assert.fail()] = sources;
      const graph = await gather({ source, digest }, { attachedIn: sources }, context(test));
      const sink = await openLayoutSink(dir, digest, force);
      const report = await copy(graph, { image: sink, attached: sink, tag: 'v1', force }, context(test));
      await sink.finish();
      return report;
    };
    const dir = join(await folder(test), 'layout');
    const report = await saving(dir, false);
    assert.equal(report.manifests.filter(({ outcome }) => outcome === 'merged').length, 2);
    const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
    assert.equal(index.manifests.length, 3);

    const sink = await registry(test);
    await load(test, dir, sink.host);
    const there = repository(sink.host, 'loaded/app');
    for (const suffix of ['sig', 'att']) {
      const { manifest } = await there.manifest(`${digest.replace(':', '-')}.${suffix}`);
      const contents = (manifest.layers ?? []).map(
        ({ annotations }) => annotations?.['dev.cosignproject.cosign/signature'],
      );
      assert.deepEqual(contents.toSorted(), [`of ${suffix} of another`, `of ${suffix} of one`, 'of shared'].sort());
    }

    await image.signatures(digest, ['one bill'], 'sbom');
    await beside.signatures(digest, ['another bill'], 'sbom');
    await assert.rejects(saving(dir, false), { code: 'already_exists', reason: 'TAG_EXISTS' });
    await saving(dir, true);
  });

  for (const attached of [true, false]) {
    it(`a manifest that leaves its media type to its descriptor is loaded${attached ? ', and what refers to it' : ''}`, async (test) => {
      const bare = (more: object): string => JSON.stringify({ schemaVersion: 2, ...more });
      const config = entryOf('{}', 'application/vnd.oci.empty.v1+json');
      const image = bare({ config, layers: [], annotations: { is: 'the image' } });
      const index = bare({ manifests: [entryOf(image)] });
      const referrer = bare({ artifactType: 'text/plain', config, layers: [], subject: entryOf(index, ociIndex) });
      const list = bare({ manifests: [entryOf(image)], subject: entryOf(image) });
      const blobs = ['{}', image, index, ...(attached ? [referrer, list] : [])];
      const dir = await layoutOf(test, blobs, [entryOf(index, ociIndex)]);
      const sink = await registry(test);
      const report = await load(test, dir, sink.host);
      assert.deepEqual(report.ignored, []);
      const there = repository(sink.host, 'loaded/app');
      assert.equal((await there.manifest('v1')).digest, digestOf(Buffer.from(index)));
      await there.manifest(digestOf(Buffer.from(image)));
      const listed = async (of: string) =>
        (await there.referrers(digestOf(Buffer.from(of))))?.map(({ digest }) => digest);
      assert.deepEqual(await listed(index), attached ? [digestOf(Buffer.from(referrer))] : []);
      assert.deepEqual(await listed(image), attached ? [digestOf(Buffer.from(list))] : []);
    });
  }

  it('another image in a folder is listed instead with force alone', async (test) => {
    const { made, dir, source } = await saved(test);
    await assert.rejects(save(test, source.host, made.amd64, dir), { reason: 'LAYOUT_TAKEN' });
    await save(test, source.host, made.amd64, dir, true);
    assert.equal((await openLayout(dir)).image, made.amd64);
  });

  it('another image beside the same one in a folder stays listed without force', async (test) => {
    const { dir, index, made, source, blobAt } = await saved(test);
    await save(test, source.host, made.index, dir);
    const config = entryOf('{}', 'application/vnd.oci.empty.v1+json');
    const other = JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config, layers: [] });
    const listed = { ...entryOf(other), annotations: { 'org.opencontainers.image.ref.name': 'v2' } };
    await writeFile(join(dir, 'index.json'), JSON.stringify({ ...index, manifests: [...index.manifests, listed] }));
    await save(test, source.host, made.index, dir);
    await writeFile(blobAt(listed.digest), other);
    await writeFile(join(dir, 'index.json'), JSON.stringify({ ...index, manifests: [...index.manifests, listed] }));
    await assert.rejects(save(test, source.host, made.index, dir), { reason: 'LAYOUT_TAKEN' });
    assert.match(await readFile(join(dir, 'index.json'), 'utf8'), new RegExp(listed.digest));
    await save(test, source.host, made.index, dir, true);
  });

  it('with several images one must be chosen, by tag or digest', async (test) => {
    const image = (text: string): string =>
      JSON.stringify({
        schemaVersion: 2,
        mediaType: ociManifest,
        config: entryOf('{}', 'application/vnd.oci.empty.v1+json'),
        layers: [],
        annotations: { text },
      });
    const named = (blob: string, name: string) => ({
      ...entryOf(blob),
      annotations: { 'org.opencontainers.image.ref.name': name },
    });
    const [one, two] = [image('one'), image('two')];
    const dir = await layoutOf(test, ['{}', one, two], [named(one, 'one'), named(two, 'two')]);
    await assert.rejects(openLayout(dir), { reason: 'IMAGE_AMBIGUOUS', message: /one, two/ });
    assert.equal((await openLayout(dir, 'two')).image, digestOf(Buffer.from(two)));
    assert.equal((await openLayout(dir, digestOf(Buffer.from(one)))).image, digestOf(Buffer.from(one)));
    await assert.rejects(openLayout(dir, 'three'), { code: 'not_found' });
  });

  it('of which index.json lists two signature manifests of the image is not loaded by half', async (test) => {
    const config = entryOf('{}', 'application/vnd.oci.empty.v1+json');
    const of = (text: string) =>
      JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config, layers: [], annotations: { text } });
    const [image, one, two] = [of('image'), of('one'), of('two')];
    const marked = (blob: string, kind: string) => ({
      ...entryOf(blob),
      annotations: { kind: `dev.cosignproject.cosign/${kind}` },
    });
    const entries = [marked(image, 'image'), marked(one, 'sigs'), marked(two, 'sigs')];
    const dir = await layoutOf(test, ['{}', image, one, two], entries);
    const sink = await registry(test);
    await assert.rejects(load(test, dir, sink.host), { reason: 'LAYOUT_INVALID', message: /lists 2 manifests as/ });
  });
});

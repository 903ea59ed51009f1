import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Digest } from '../../src/model/digest.ts';
import { copy } from '../../src/transfer/copy.ts';
import { gather } from '../../src/transfer/gather.ts';
import { openLayoutSink } from '../../src/transfer/layout-sink.ts';
import { openLayout } from '../../src/transfer/layout-source.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { repositorySink } from '../../src/transfer/repository-sink.ts';
import {
  context,
  digestOf,
  folder,
  ociIndex,
  ociManifest,
  pushEverything,
  registries,
  registry,
  repository,
} from './world.ts';

type Index = {
  readonly schemaVersion: number;
  readonly manifests: readonly {
    readonly mediaType: string;
    readonly digest: Digest;
    readonly size: number;
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
};

const save = async (test: TestContext, host: string, digest: Digest, dir: string, force = false) => {
  const source = repositorySource(registries(test), { registry: host, repository: 'acme/app' });
  const graph = await gather({ source, digest }, { attachedIn: [source] }, context(test));
  const sink = await openLayoutSink(dir, digest, force);
  const report = await copy(graph, { image: sink, attached: sink, tag: 'v1', force: true }, context(test));
  await sink.finish();
  return report;
};

const load = async (test: TestContext, dir: string, host: string, wanted?: string) => {
  const { source, image } = await openLayout(dir, wanted);
  const graph = await gather({ source, digest: image }, { attachedIn: [source] }, context(test));
  const sink = repositorySink(registries(test), { registry: host, repository: 'loaded/app' }, 50);
  return copy(graph, { image: sink, attached: sink, tag: 'v1', force: false }, context(test));
};

const saved = async (test: TestContext) => {
  const source = await registry(test);
  const made = await pushEverything(source.host, 'acme/app', true);
  const dir = join(await folder(test), 'layout');
  const report = await save(test, source.host, made.index, dir);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
  const blobAt = (digest: string): string => join(dir, 'blobs', 'sha256', digest.slice(7));
  return { source, made, dir, report, index, blobAt };
};

/** A layout of exactly these blobs, listed as given. */
const layoutOf = async (
  test: TestContext,
  blobs: readonly string[],
  manifests: readonly unknown[],
): Promise<string> => {
  const dir = await folder(test);
  await mkdir(join(dir, 'blobs', 'sha256'), { recursive: true });
  for (const blob of blobs) await writeFile(join(dir, 'blobs', 'sha256', digestOf(Buffer.from(blob)).slice(7)), blob);
  await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests }));
  return dir;
};

const entryOf = (blob: string, mediaType = ociManifest) => ({
  mediaType,
  digest: digestOf(Buffer.from(blob)),
  size: Buffer.byteLength(blob),
});

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

  it('another image in a folder is listed instead with force alone', async (test) => {
    const { made, dir, source } = await saved(test);
    await assert.rejects(save(test, source.host, made.amd64, dir), { reason: 'LAYOUT_TAKEN' });
    await save(test, source.host, made.amd64, dir, true);
    assert.equal((await openLayout(dir)).image, made.amd64);
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
});

describe('a hostile layout', () => {
  const empty = entryOf('{}', 'application/vnd.oci.empty.v1+json');
  const imageWith = (more: object): string =>
    JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config: empty, layers: [], ...more });
  const refused = async (test: TestContext, dir: string, error: object): Promise<void> => {
    const sink = await registry(test);
    await assert.rejects(load(test, dir, sink.host), error);
    assert.equal(sink.requests.filter(({ method, kind }) => method === 'PUT' && kind === 'manifest').length, 0);
  };

  const traversals = [
    'sha256:../../../etc/passwd',
    `sha256:${'0'.repeat(62)}/x`,
    '../x',
    'sha512:abc',
    `sha256:${'A'.repeat(64)}`,
  ];
  for (const digest of traversals) {
    it(`whose index.json lists ${digest}`, async (test) => {
      const dir = await layoutOf(test, [], [{ mediaType: ociManifest, digest, size: 2 }]);
      await refused(test, dir, { code: 'failed_precondition', reason: 'LAYOUT_INVALID' });
    });
    it(`whose manifest has a layer ${digest}`, async (test) => {
      const image = imageWith({ layers: [{ mediaType: 'text/plain', digest, size: 2 }] });
      const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
      await refused(test, dir, { code: 'failed_precondition', reason: /^(LAYOUT_INVALID|DIGEST_UNSUPPORTED)$/ });
    });
  }

  it('with a blob that is a link out of the folder', async (test) => {
    const secret = join(await folder(test), 'secret');
    await writeFile(secret, 'the secret');
    const image = imageWith({ layers: [entryOf('the secret', 'text/plain')] });
    const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
    await symlink(secret, join(dir, 'blobs', 'sha256', digestOf(Buffer.from('the secret')).slice(7)));
    await refused(test, dir, { reason: 'LAYOUT_INVALID', message: /no plain file/ });
  });

  for (const part of ['blobs', 'blobs/sha256']) {
    it(`whose folder ${part} is a link`, async (test) => {
      const image = imageWith({});
      const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
      const elsewhere = join(await folder(test), 'elsewhere');
      await cp(join(dir, part), elsewhere, { recursive: true });
      await rm(join(dir, part), { recursive: true });
      await symlink(elsewhere, join(dir, part));
      await refused(test, dir, { reason: 'LAYOUT_INVALID', message: /is no folder/ });
      const source = await registry(test);
      const made = await pushEverything(source.host, 'acme/app', true);
      await assert.rejects(save(test, source.host, made.index, dir, true), { reason: 'LAYOUT_INVALID' });
    });
  }

  it('whose index.json is a link, or a pipe', async (test) => {
    const image = imageWith({});
    const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
    await rename(join(dir, 'index.json'), join(dir, 'other.json'));
    await symlink('other.json', join(dir, 'index.json'));
    await refused(test, dir, { reason: 'LAYOUT_INVALID' });
    await rm(join(dir, 'index.json'));
    execFileSync('mkfifo', [join(dir, 'index.json')]);
    await refused(test, dir, { reason: 'LAYOUT_INVALID' });
  });

  it('whose blob has other bytes than its digest, or more or fewer than announced', async (test) => {
    const layer = entryOf('the layer', 'text/plain');
    for (const [content, size] of [
      ['The layer', 9],
      ['the layer', 8],
      ['the layer', 10],
      ['', 9],
    ] as const) {
      const image = imageWith({ layers: [{ ...layer, size }] });
      const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
      await writeFile(join(dir, 'blobs', 'sha256', layer.digest.slice(7)), content);
      await refused(test, dir, { code: 'data_loss', reason: 'DIGEST_MISMATCH' });
    }
  });

  it('whose manifest has other bytes than its digest', async (test) => {
    const image = imageWith({});
    const dir = await layoutOf(test, ['{}', image], [entryOf(image)]);
    await writeFile(
      join(dir, 'blobs', 'sha256', digestOf(Buffer.from(image)).slice(7)),
      imageWith({ annotations: { a: 'b' } }),
    );
    await refused(test, dir, { code: 'data_loss' });
  });

  it('whose blob is missing', async (test) => {
    const image = imageWith({ layers: [entryOf('gone', 'text/plain')] });
    await refused(test, await layoutOf(test, ['{}', image], [entryOf(image)]), {
      code: 'not_found',
      reason: 'BLOB_NOT_FOUND',
    });
  });

  it('with an index.json too large, of too many entries, or no JSON', async (test) => {
    const dir = await layoutOf(test, [], []);
    const entry = { mediaType: ociManifest, digest: `sha256:${'0'.repeat(64)}`, size: 1 };
    for (const content of [
      `{"schemaVersion":2,"manifests":[]${' '.repeat(5 * 1024 * 1024)}}`,
      JSON.stringify({ schemaVersion: 2, manifests: Array(10_001).fill(entry) }),
      'index',
      '[]',
    ]) {
      await writeFile(join(dir, 'index.json'), content);
      await refused(test, dir, { reason: 'LAYOUT_INVALID' });
    }
  });

  it('whose index goes deeper than eight levels', async (test) => {
    const blobs = ['{}', imageWith({})];
    for (let depth = 0; depth < 10; depth++) {
      const below = entryOf(blobs.at(-1) ?? '', depth === 0 ? ociManifest : ociIndex);
      blobs.push(JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [below] }));
    }
    const dir = await layoutOf(test, blobs, [entryOf(blobs.at(-1) ?? '', ociIndex)]);
    await refused(test, dir, { code: 'failed_precondition', reason: 'IMAGE_TOO_LARGE' });
  });

  it('to whose image more than a thousand manifests refer', async (test) => {
    const image = imageWith({});
    const referring = Array.from({ length: 1_001 }, (_, at) =>
      imageWith({ subject: entryOf(image), annotations: { at: String(at) } }),
    );
    const dir = await layoutOf(test, ['{}', image, ...referring], [entryOf(image)]);
    await refused(test, dir, { reason: 'LAYOUT_INVALID', message: /more than 1000/ });
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { entryOf, layoutOf, load, save } from './layouts.ts';
import { digestOf, folder, ociIndex, ociManifest, pushEverything, registry } from './world.ts';

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

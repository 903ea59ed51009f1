import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sha256 } from '../../src/model/digest.ts';
import { fallbackIndex } from '../../src/registry/fallback-index.ts';
import { createEntryIndex } from '../../src/registry/growing-list.ts';
import type { ManifestDescriptor, StoredManifest } from '../../src/registry/manifest.ts';
import { signatureLayers } from '../../src/registry/signature-layers.ts';
import { isAmong, type NextManifest } from '../../src/registry/tag-layout.ts';

const target = { registry: 'registry.example', repository: 'acme/app' };
const entry = (name: string): ManifestDescriptor => ({
  mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
  size: name.length,
  digest: sha256(Buffer.from(name)),
  annotations: { name },
});
const stored = ({ mediaType, digest, pieces, json }: NextManifest): StoredManifest => ({
  mediaType,
  digest,
  body: Buffer.concat(pieces),
  etag: undefined,
  json,
});
const namesIn = (manifest: StoredManifest): unknown[] => {
  const { layers, manifests } = JSON.parse(Buffer.from(manifest.body).toString());
  return (layers ?? manifests).map((each: ManifestDescriptor) => each.annotations?.['name']).sort();
};

for (const [name, layout] of [
  ['.sig', signatureLayers({ docker: false })],
  ['fallback tag', fallbackIndex],
] as const) {
  describe(`two writers make different manifests of one, at a ${name}`, () => {
    const one = stored(layout.build(undefined, [entry('a')], target));
    const [b, c] = ['b', 'c'].map((added) => stored(layout.build(one, [entry(added)], target)));
    for (const [manifest, has, hasNot] of [
      [one, ['a'], ['b', 'c', 'd']],
      [b, ['a', 'b'], ['c', 'd']],
      [c, ['a', 'c'], ['b', 'd']],
      [c && stored(layout.build(c, [entry('d'), entry('e')], target)), ['a', 'c', 'd', 'e'], ['b']],
    ] as const) {
      test(`${has} and not ${hasNot}`, () => {
        assert.ok(manifest !== undefined);
        const list = layout.list(manifest, target);
        assert.equal(layout.list(manifest, target), list);
        assert.deepEqual(namesIn(manifest), has);
        for (const each of has) assert.ok(isAmong(layout, list, entry(each)), each);
        for (const each of hasNot) assert.ok(!isAmong(layout, list, entry(each)), each);
        assert.equal(manifest.digest, sha256(manifest.body));
        // As anybody else reads it.
        const { json: _, ...read } = manifest;
        assert.deepEqual(layout.list(read, target), list);
      });
    }
  });
}

test('an index looks at an entry once, however often a list grows', () => {
  const looked: unknown[] = [];
  const index = createEntryIndex(({ annotations }) => {
    looked.push(annotations?.['name']);
    return ['all'];
  });
  const layout = signatureLayers({ docker: false });
  let manifest: StoredManifest | undefined;
  for (const name of ['a', 'b', 'c']) {
    manifest = stored(layout.build(manifest, [entry(name)], target));
    assert.equal(index(layout.list(manifest, target), 'all').length, looked.length);
  }
  assert.deepEqual(looked, ['a', 'b', 'c']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifestType } from '../../src/registry/manifest-type.ts';
import { dockerIndex, dockerManifest, ociIndex, ociManifest } from '../../src/registry/media-types.ts';
import { isError } from './world.ts';

const target = { registry: 'registry.example', repository: 'acme/app' };
const image = { schemaVersion: 2, config: {}, layers: [] };
const index = { schemaVersion: 2, manifests: [] };
const typeOf = (claimed: string | undefined, body: object | string): string =>
  readManifestType(
    {
      status: 200,
      headers: claimed === undefined ? {} : { 'content-type': claimed },
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      url: 'https://registry.example/',
    },
    'v1',
    target,
  ).mediaType;

test('a manifest is what it says, or what it is made of', () => {
  for (const [of, types] of [
    [image, [ociManifest, dockerManifest]],
    [index, [ociIndex, dockerIndex]],
  ] as const) {
    for (const mediaType of types) {
      for (const claimed of [mediaType, `${mediaType}; charset=utf-8`, 'application/json', undefined]) {
        assert.equal(typeOf(claimed, { ...of, mediaType }), mediaType);
      }
    }
    assert.equal(typeOf(types[0], of), types[0]);
    assert.equal(typeOf('application/json', of), types[0]);
  }
  assert.equal(typeOf(ociIndex, { schemaVersion: 2, mediaType: ociIndex }), ociIndex);
});

test('what is served as another kind, says two things, or is none, is refused', () => {
  for (const [claimed, body] of [
    [ociIndex, { ...image, mediaType: ociManifest }],
    [dockerManifest, { ...image, mediaType: ociManifest }],
    [ociManifest, { ...index, mediaType: ociIndex }],
    [ociManifest, index],
    [ociIndex, image],
    [dockerManifest, image],
    [ociManifest, { ...index, mediaType: ociManifest }],
    [ociIndex, { ...image, mediaType: ociIndex }],
    [ociManifest, { ...image, ...index, mediaType: ociManifest }],
    [ociManifest, { ...image, ...index }],
    [ociManifest, { schemaVersion: 2 }],
    [ociManifest, { ...image, mediaType: 1 }],
    [ociManifest, { ...image, mediaType: 'application/vnd.oci.artifact.manifest.v1+json' }],
    ['application/vnd.docker.distribution.manifest.v1+json', { schemaVersion: 1 }],
    [ociManifest, '<html>'],
    [ociManifest, '[]'],
    [undefined, '{}'],
  ] as const) {
    assert.throws(
      () => typeOf(claimed, body),
      isError('unavailable', 'REGISTRY_RESPONSE_INVALID'),
      JSON.stringify([claimed, body]),
    );
  }
});

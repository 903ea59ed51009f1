// Contents that are not what was asked for, that are two things at once, or that have no end; and uploads.
import assert from 'node:assert/strict';
import {
  answer,
  countOf,
  type FaultCase,
  mismatch,
  nonsense,
  ociIndex,
  ociManifest,
  otherDigest,
  paths,
  refused,
  tooLarge,
} from './fault-case.ts';
import type { Fault } from './fault-registry.ts';
import type { FaultWorld } from './fault-world.ts';

const body = (text: string): Fault => ({ kind: 'body', body: text });
const saying = (digest: string | undefined): Fault => ({
  kind: 'headers',
  headers: { 'docker-content-digest': digest },
});
const pinned = (world: FaultWorld) => ({
  subject: { kind: 'image', reference: `${world.host}/acme/app:v1@${world.digest}` } as const,
});
const recursive = () => ({ recursive: { platforms: [] } });
const byDigest = { method: 'GET', path: /\/manifests\/sha256:/ };
const served = (mediaType: string, value: object): Fault =>
  answer(200, { 'content-type': mediaType }, JSON.stringify(value));
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: otherDigest, size: 2 };
const layer = {
  mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
  digest: otherDigest,
  size: 20,
  annotations: { 'dev.cosignproject.cosign/signature': 'AA==' },
};
const signatures = (layers: readonly object[]): Fault =>
  served(ociManifest, { schemaVersion: 2, mediaType: ociManifest, config, layers });
const listing = (digest: string): Fault =>
  served(ociIndex, { schemaVersion: 2, mediaType: ociIndex, manifests: [{ mediaType: ociManifest, digest, size: 9 }] });

export const lies: readonly FaultCase[] = [
  {
    name: 'another digest than the one asked for',
    hides: ['simple-signing', 'bundle'],
    command: pinned,
    rules: () => [{ path: /\/manifests\//, fault: saying(otherDigest) }],
    expected: mismatch,
  },
  {
    name: 'a pinned digest is asked for, whatever the tag leads to (CVE-2025-24882)',
    hides: ['simple-signing', 'bundle'],
    command: pinned,
    rules: () => [{ path: /\/manifests\/v1$/, fault: saying(otherDigest) }],
    expected: 'signed',
    check: (world) => assert.equal(countOf(world, 'HEAD', /v1$/) + countOf(world, 'GET', /v1$/), 0),
  },
  {
    name: 'a pinned digest without a digest header: judged by the bytes',
    command: pinned,
    rules: () => [
      { method: 'HEAD', path: /\/manifests\/sha256:/, fault: saying(undefined) },
      { ...byDigest, fault: body('{}') },
    ],
    expected: mismatch,
  },
  {
    name: 'no digest header: the digest is taken from the bytes',
    rules: () => [{ ...paths.image, fault: saying(undefined) }],
    expected: 'signed',
  },
  {
    name: 'a digest header that does not fit the body',
    rules: () => [
      { ...paths.image, fault: saying(undefined) },
      { method: 'GET', path: /\/manifests\/v1$/, fault: saying(otherDigest) },
    ],
    expected: mismatch,
  },
  ...['sha256:../../../../etc/passwd', 'sha256:AB', '../v2/', `sha512:${'0'.repeat(128)}`].map(
    (digest): FaultCase => ({
      name: `digest header ${digest.slice(0, 30)}: not believed (CVE-2024-3727)`,
      rules: () => [{ ...paths.image, fault: saying(digest) }],
      expected: 'signed',
      check: (world) =>
        assert.ok(world.registry.seen.every(({ url }) => !url.includes('passwd') && !url.includes('sha512'))),
    }),
  ),
  {
    name: 'the image at its digest is something else',
    command: recursive,
    rules: () => [{ ...byDigest, fault: body('{"schemaVersion":2}') }],
    expected: mismatch,
  },
  {
    name: 'the blob of a signature is something else',
    signedBefore: true,
    rules: () => [{ ...paths.blob, fault: body('{}') }],
    expected: mismatch,
  },
  {
    name: 'the manifest of a bundle is something else',
    signedBefore: true,
    rules: () => [{ ...byDigest, fault: body('{}') }],
    expected: mismatch,
  },
  {
    name: 'a referrer with a path for a digest',
    rules: () => [{ ...paths.referrers, fault: listing('sha256:../../../../v2/_catalog') }],
    expected: nonsense,
    check: (world) => assert.equal(countOf(world, 'GET', /catalog/), 0),
  },
  {
    name: 'a signature layer with a path for a digest',
    rules: () => [{ ...paths.signatureTag, fault: signatures([{ ...layer, digest: 'sha256:../../secret' }]) }],
    expected: nonsense,
  },
  {
    name: 'an index as the .sig tag',
    rules: () => [{ ...paths.signatureTag, fault: served(ociIndex, { schemaVersion: 2, manifests: [] }) }],
    expected: nonsense,
  },
  {
    name: 'the .sig tag is a manifest and an index at once (CVE-2021-41190)',
    rules: () => [
      {
        ...paths.signatureTag,
        fault: served(ociManifest, { schemaVersion: 2, config, layers: [], manifests: [] }),
      },
    ],
    expected: nonsense,
  },
  {
    name: 'the referrers are an index and a manifest at once (CVE-2021-41190)',
    rules: () => [{ ...paths.referrers, fault: served(ociIndex, { schemaVersion: 2, manifests: [], layers: [] }) }],
    expected: nonsense,
  },
  {
    name: 'the .sig tag says another media type than its header (CVE-2021-41190)',
    rules: () => [
      {
        ...paths.signatureTag,
        fault: served(ociManifest, { schemaVersion: 2, mediaType: ociIndex, config, layers: [] }),
      },
    ],
    expected: nonsense,
  },
  {
    name: 'an index that is served as an image, signed with what it lists (CVE-2021-41190)',
    command: recursive,
    rules: () => [{ ...byDigest, fault: { kind: 'headers', headers: { 'content-type': ociManifest } } }],
    expected: nonsense,
  },
  {
    name: 'referrers that are no JSON',
    rules: () => [{ ...paths.referrers, fault: answer(200, { 'content-type': ociIndex }, '<html>') }],
    expected: nonsense,
  },
  {
    name: 'a compressed answer that nobody asked for',
    rules: () => [{ ...paths.signatureTag, fault: answer(200, { 'content-encoding': 'gzip' }, 'x') }],
    expected: refused('unavailable', 'RESPONSE_ENCODED'),
  },
  ...(
    [
      ['manifest', 'signatureTag', false],
      ['list of referrers', 'referrers', false],
      ['blob', 'blob', true],
    ] as const
  ).map(
    ([what, where, signedBefore]): FaultCase => ({
      name: `an endless ${what}`,
      signedBefore,
      rules: () => [{ ...paths[where], fault: { kind: 'flood', bytes: 200_000_000 } }],
      expected: tooLarge,
    }),
  ),
  {
    name: 'an endless error',
    rules: () => [{ ...paths.signatureTag, fault: { kind: 'flood', bytes: 200_000_000, status: 500 } }],
    expected: tooLarge,
  },
  {
    name: '1,001 signatures at the .sig tag (CVE-2024-29903)',
    rules: () => [{ ...paths.signatureTag, fault: signatures(Array(1_001).fill(layer)) }],
    expected: refused('failed_precondition', 'TOO_MANY_SIGNATURES'),
  },
  {
    name: 'a signature of 128 MB (CVE-2024-29902)',
    rules: () => [{ ...paths.signatureTag, fault: signatures([{ ...layer, size: 128 * 1024 * 1024 }]) }],
    expected: refused('failed_precondition', 'BLOB_TOO_LARGE'),
    check: (world) => assert.equal(countOf(world, 'GET', /\/blobs\//), 0),
  },
  {
    name: 'the bundle is said to have been stored as something else: named as what may be there',
    rules: () => [{ ...paths.putBundle, fault: saying(otherDigest) }],
    expected: mismatch,
    keyUses: 2,
    named: 2,
  },
  {
    name: 'the .sig tag is said to have been stored as something else: named as what may be there',
    rules: () => [{ ...paths.putSignatureTag, fault: saying(otherDigest) }],
    expected: mismatch,
    keyUses: 2,
    named: 1,
  },
  {
    name: 'a blob is said to have been stored as something else',
    rules: () => [{ ...paths.startUpload, fault: saying(otherDigest) }],
    expected: mismatch,
    keyUses: 2,
  },
];

const lost = answer(404, { 'content-type': 'application/json' }, '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}');
const sessions = { wholeUpload: false } as const;
const uploadLost = refused('unavailable', 'UPLOAD_LOST', 1, 1_000);

export const uploads: readonly FaultCase[] = [
  {
    name: 'upload: 202 instead of 201',
    registry: sessions,
    rules: () => [],
    expected: 'signed',
  },
  {
    name: 'upload: OCI-Chunk-Min-Length of 5 MiB, in one piece all the same',
    registry: { ...sessions, chunkMinBytes: 5 * 1024 * 1024 },
    rules: () => [],
    expected: 'signed',
    check: (world) => assert.equal(countOf(world, 'PATCH', /./), 0),
  },
  {
    name: 'upload: session lost once, begun again',
    registry: sessions,
    rules: () => [{ ...paths.finishUpload, times: 1, fault: lost }],
    expected: 'signed',
  },
  {
    name: 'upload: every session lost',
    registry: sessions,
    rules: () => [{ ...paths.finishUpload, fault: lost }],
    expected: uploadLost,
    keyUses: 2,
    check: (world) => assert.ok(countOf(world, 'PUT', /uploads/) <= 6),
  },
  {
    name: 'upload: 416 once, begun again',
    registry: sessions,
    rules: () => [{ ...paths.finishUpload, times: 1, fault: answer(416) }],
    expected: 'signed',
  },
  {
    name: 'upload: 416 for good',
    registry: sessions,
    rules: () => [{ ...paths.finishUpload, fault: answer(416) }],
    expected: uploadLost,
    keyUses: 2,
  },
  ...[400, 404, 405, 413, 416, 501].map(
    (status): FaultCase => ({
      name: `upload: ${status} for the whole in one request, in two then`,
      rules: () => [{ method: 'POST', path: /\/blobs\/uploads\/\?digest=/, fault: answer(status) }],
      expected: 'signed',
    }),
  ),
  {
    name: 'upload: 200 that stores nothing',
    rules: () => [{ ...paths.startUpload, fault: answer(200) }],
    expected: nonsense,
    keyUses: 2,
  },
];

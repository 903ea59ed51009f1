// A manifest that is served as another kind of manifest: no reader may take it for that, then or later, or overlook it.
import assert from 'node:assert/strict';
import { countOf, type FaultCase, nonsense, ociIndex, ociManifest, paths } from './fault-case.ts';
import type { Fault } from './fault-registry.ts';
import type { FaultWorld } from './fault-world.ts';

const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json';
const as = (type: string | undefined): Fault => ({ kind: 'headers', headers: { 'content-type': type } });
const byDigest = { method: 'GET', path: /\/manifests\/sha256:/ };
const fallbackTag = { method: 'GET', path: /\/manifests\/sha256-[0-9a-f]{64}$/ };
const pinned = (world: FaultWorld) => ({
  subject: { kind: 'image', reference: `${world.host}/acme/app@${world.digest}` } as const,
});
const recursive = { platforms: [] };

export const mediaTypes: readonly FaultCase[] = [
  {
    name: 'type: an index by its digest, served as an image',
    command: pinned,
    rules: () => [{ ...byDigest, fault: as(ociManifest) }],
    expected: nonsense,
  },
  {
    name: 'type: an index by its digest, served as an image, signed with what it lists',
    command: (world) => ({ ...pinned(world), recursive }),
    rules: () => [{ ...byDigest, times: 1, fault: as(ociManifest) }],
    expected: nonsense,
  },
  {
    name: 'type: an index at its tag is said to be an image, signed with what it lists',
    command: () => ({ recursive }),
    rules: () => [{ ...paths.image, fault: as(ociManifest) }],
    expected: nonsense,
  },
  ...[ociIndex, dockerManifest].map(
    (type): FaultCase => ({
      name: `type: the manifest of a bundle, served once as ${type}`,
      signedBefore: true,
      rules: () => [{ ...byDigest, times: 1, fault: as(type) }],
      expected: nonsense,
    }),
  ),
  ...[ociIndex, dockerManifest].map(
    (type): FaultCase => ({
      name: `type: the .sig tag, served once as ${type}`,
      signedBefore: true,
      rules: () => [{ ...paths.signatureTag, times: 1, fault: as(type) }],
      expected: nonsense,
    }),
  ),
  {
    name: 'type: the fallback tag, served once as an image',
    registry: { referrers: false },
    signedBefore: true,
    rules: () => [{ ...fallbackTag, times: 1, fault: as(ociManifest) }],
    expected: nonsense,
  },
  ...['application/json', 'text/plain; charset=utf-8', 'application/octet-stream', undefined].map(
    (type): FaultCase => ({
      name: `type: everything is served as ${type ?? 'nothing'}: the content says what it is`,
      registry: { referrers: type === undefined },
      signedBefore: true,
      rules: () => [
        { ...byDigest, fault: as(type) },
        { ...paths.image, fault: as(type) },
        { ...paths.signatureTag, fault: as(type) },
        { ...fallbackTag, fault: as(type) },
      ],
      expected: 'existing',
      check: (world) => assert.equal(countOf(world, 'PUT', /./), 0),
    }),
  ),
];

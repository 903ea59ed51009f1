import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Manifest } from '../../src/dev/registry/client.ts';
import { type Digest, sha256 } from '../../src/model/digest.ts';
import { copy } from '../../src/transfer/copy.ts';
import type { Attachment, Graph, Node } from '../../src/transfer/gather.ts';
import type { Sink } from '../../src/transfer/sink.ts';
import type { Source } from '../../src/transfer/source.ts';
import { classifyReferrer } from '../../src/transfer/kinds.ts';
import { type TreeNode, treeOf } from '../../src/transfer/tree.ts';
import { capture } from '../cli/capture.ts';
import { inFrontOf } from './front.ts';
import { context, ociIndex, pushEverything, registry } from './world.ts';

const bare = { HOME: '/nonexistent' };
const nowhere = { name: 'host/app', target: undefined } as Source;
const length = 5_000;

/** An index that lists `length` others, each of which has the next one below it, or attached to it. */
const chain = (by: 'child' | 'attachment'): Graph => {
  const bodies = Array.from({ length }, (_, at) => Buffer.from(String(at)));
  const digests = bodies.map((body) => sha256(body));
  const nodeOf = (body: Uint8Array, children: readonly Digest[]): Node => ({
    stored: { mediaType: ociIndex, digest: sha256(body), body, etag: undefined },
    from: nowhere,
    blobs: [],
    layers: [],
    children,
  });
  const root = Buffer.from('root');
  const nodes = new Map([[sha256(root), nodeOf(root, digests)]]);
  const attachments: Attachment[] = [];
  for (const [at, body] of bodies.entries()) {
    const next = digests[at + 1];
    nodes.set(sha256(body), nodeOf(body, next === undefined || by === 'attachment' ? [] : [next]));
    if (next === undefined || by === 'child') continue;
    const subject = sha256(body);
    const kind = { kind: 'signature', format: 'simple-signing', predicateType: undefined } as const;
    attachments.push({ subject, digest: next, from: nowhere, ...kind, by: 'tag', tag: String(at), suffix: 'sig' });
  }
  return { root: sha256(root), nodes, attachments, ignored: [] };
};

const depthOf = (node: TreeNode): number =>
  1 + Math.max(0, ...[...node.manifests, ...node.attached.map(({ manifest }) => manifest)].map(depthOf));

describe('tree', () => {
  for (const by of ['child', 'attachment'] as const) {
    it(`unfolds each manifest where it is nearest to the image: a chain of ${length}, each ${by === 'child' ? 'below' : 'attached to'} the one before`, () => {
      const tree = treeOf(chain(by));
      assert.equal(tree.manifests.length, length);
      assert.ok(depthOf(tree) <= 3);
    });
  }

  it(`and a copy of such a chain puts what is below first`, async (test) => {
    const put: Digest[] = [];
    const sink = {
      name: 'sink',
      has: async () => false,
      manifest: async ({ digest }) => {
        put.push(digest);
        return 'copied';
      },
    } as Partial<Sink> as Sink;
    const graph = chain('child');
    await copy(graph, { image: sink, attached: sink, tag: undefined, force: false }, context(test));
    assert.deepEqual(put, [...graph.nodes.keys()].toReversed());
  });

  it('shows, and download reads, an index of which some manifests are not there; copy wants them', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const front = await inFrontOf(test, host, {
      before: (_, path) => (path.endsWith(`/manifests/${made.amd64}`) ? 404 : undefined),
    });
    const image = `${front}/acme/app:v1`;
    const shown = await capture(['tree', image], bare);
    assert.equal(shown.code, 0, shown.err);
    assert.match(shown.out, new RegExp(`^left out ${made.amd64}: it is listed and not there$`, 'm'));
    assert.match(shown.out, new RegExp(`image ${made.arm64}`));
    const signatures = await capture(['download', 'signature', image], bare);
    assert.equal(signatures.out.trim().split('\n').length, 3, signatures.err);
    assert.equal((await capture(['copy', image, `${host}/acme/copy:v1`], bare)).code, 5);
    assert.equal((await capture(['clean', image, '--type', 'sbom', '--force'], bare)).code, 0);
  });

  it('leaves out what cannot be read, and names it; copy does not', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const { manifest } = await made.there.manifest(made.bundle);
    const odd = await made.there.putManifest({ ...manifest, schemaVersion: 3 } as Manifest);
    const digest = `sha512:${hash('sha512', 'long')}`;
    await fetch(`http://${host}/v2/acme/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: 'long' });
    const elsewhere = { mediaType: 'text/plain', digest, size: 4 };
    const long = await made.there.putManifest({ ...manifest, layers: [elsewhere] } as unknown as Manifest);
    const image = `${host}/acme/app:v1`;
    const shown = await capture(['tree', image], bare);
    assert.equal(shown.code, 0, shown.err);
    assert.match(shown.out, new RegExp(`^left out ${odd}: it is no valid manifest$`, 'm'));
    assert.match(shown.out, new RegExp(long));
    for (const argv of [
      ['download', 'signature', image],
      ['clean', image, '--type', 'sbom', '--force'],
    ]) {
      const done = await capture(argv, bare);
      assert.equal(done.code, 0, done.err);
      assert.match(done.err, new RegExp(`left out ${odd}`));
    }
    assert.notEqual((await capture(['copy', image, `${host}/acme/copy:v1`], bare)).code, 0);
  });

  it('takes for an SBOM what is one by its type', () => {
    const kindOf = (artifactType: string) =>
      classifyReferrer(undefined, { mediaType: ociIndex, digest: 'sha256:0', size: 1, artifactType }).kind;
    const types = ['application/spdx+json', 'text/spdx', 'application/vnd.cyclonedx+xml', 'application/vnd.syft+json'];
    assert.deepEqual(new Set(types.map(kindOf)), new Set(['sbom']));
    const others = ['application/vnd.example.spdx-review', 'application/vnd.syft.settings+json', 'cyclonedx'];
    assert.deepEqual(new Set(others.map(kindOf)), new Set(['other']));
  });
});

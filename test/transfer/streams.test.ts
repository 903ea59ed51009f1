// Blobs of any size on their way: never held whole, checked on the way, and a registry that lies about them.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { createHash } from 'node:crypto';
import { copy } from '../../src/transfer/copy.ts';
import { gather } from '../../src/transfer/gather.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { repositorySink } from '../../src/transfer/repository-sink.ts';
import type { Digest } from '../../src/model/digest.ts';
import { bundleType, context, digestOf, ociIndex, ociManifest, registries, registry, repository } from './world.ts';

const serve = async (test: TestContext, listener: RequestListener): Promise<string> => {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  test.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
};

const piece = Buffer.alloc(64 * 1024, 'x');
const mebibyte = 1024 * 1024;

/** So many bytes of x, as fast as they are taken; answers how many were given. */
const pour = async (response: ServerResponse, size: number): Promise<number> => {
  let given = 0;
  while (given < size && !response.destroyed) {
    given += piece.byteLength;
    if (!response.write(piece)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
  }
  response.end();
  return given;
};

const digestOfX = (size: number): Digest => {
  const hash = createHash('sha256');
  for (let at = 0; at < size; at += piece.byteLength) hash.update(piece);
  return `sha256:${hash.digest('hex')}`;
};

const blobOf = (size: number) => ({ mediaType: 'text/plain', digest: digestOfX(size), size });

describe('blobs as streams', () => {
  it('are read no faster than they are taken, and the connection ends with the reader', async (test) => {
    const size = 256 * mebibyte;
    let given: Promise<number> | undefined;
    const host = await serve(test, (_, response) => {
      response.writeHead(200, { 'content-length': String(size) });
      given = pour(response, size);
    });
    const source = repositorySource(registries(test), { registry: host, repository: 'big' });
    for await (const first of source.blob(blobOf(size), context(test))) {
      assert.ok(first.byteLength > 0);
      break;
    }
    const bytes = await given;
    assert.ok(bytes !== undefined && bytes < size / 2, `${bytes} bytes were sent`);
  });

  it('go from one registry to another without being held', async (test) => {
    const size = 192 * mebibyte;
    let ahead = 0;
    let most = 0;
    const from = await serve(test, (_, response) => {
      response.writeHead(200, { 'content-length': String(size) });
      const write = response.write.bind(response);
      response.write = ((chunk: Buffer) => {
        ahead += chunk.byteLength;
        most = Math.max(most, ahead);
        return write(chunk);
      }) as typeof response.write;
      void pour(response, size);
    });
    let taken: string | undefined;
    const to = await serve(test, async (request: IncomingMessage, response) => {
      if (request.method === 'POST') {
        response.writeHead(202, { location: '/v2/big/blobs/uploads/1' }).end();
        return;
      }
      const hash = createHash('sha256');
      for await (const chunk of request) {
        ahead -= chunk.length;
        hash.update(chunk);
      }
      taken = `sha256:${hash.digest('hex')}`;
      response.writeHead(201).end();
    });
    const parts = registries(test);
    const source = repositorySource(parts, { registry: from, repository: 'big' });
    const blob = blobOf(size);
    const target = { registry: to, repository: 'big' };
    await parts.streams.upload(target, blob, () => source.blob(blob, context(test)), context(test));
    assert.equal(taken, blob.digest);
    // What lies between the two is in buffers of sockets and streams: a few MiB each.
    assert.ok(most < 64 * mebibyte, `${most} bytes were under way at once`);
  });

  const size = mebibyte;
  const lies: Readonly<Record<string, RequestListener>> = {
    'other bytes': (_, response) => response.end(Buffer.alloc(size, 'y')),
    'fewer bytes': (_, response) => response.end(Buffer.alloc(size / 2, 'x')),
    'more bytes': (_, response) => response.end(Buffer.alloc(size * 2, 'x')),
    'more bytes in pieces, without a length': (_, response) => {
      response.write(Buffer.alloc(size, 'x'));
      response.end(Buffer.alloc(size, 'x'));
    },
    nothing: (_, response) => response.writeHead(404).end(),
  };
  for (const [what, listener] of Object.entries(lies)) {
    it(`that come with ${what} are not stored at the destination`, async (test) => {
      const from = await serve(test, listener);
      const to = await registry(test);
      const parts = registries(test);
      const source = repositorySource(parts, { registry: from, repository: 'big' });
      const target = { registry: to.host, repository: 'big' };
      const blob = blobOf(size);
      await assert.rejects(
        parts.streams.upload(target, blob, () => source.blob(blob, context(test)), context(test)),
        (error: Error & { code?: string }) => ['data_loss', 'not_found', 'unavailable'].includes(error.code ?? ''),
      );
      assert.equal(await parts.streams.has(target, blob.digest, context(test)), false);
    });
  }
});

describe('a hostile registry', () => {
  /** Serves these manifests by digest, and this list of referrers for whatever is asked. */
  const hostile = (manifests: readonly string[], listed: readonly object[]): RequestListener => {
    const byDigest = new Map(manifests.map((body) => [digestOf(Buffer.from(body)), body]));
    return (request, response) => {
      const [, kind = '', last = ''] = /\/(manifests|referrers|blobs)\/([^/]+)$/.exec(request.url ?? '') ?? [];
      const body =
        kind === 'referrers'
          ? JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: listed })
          : byDigest.get(decodeURIComponent(last) as Digest);
      if (body === undefined) {
        response.writeHead(404).end();
        return;
      }
      const mediaType = kind === 'referrers' ? ociIndex : (JSON.parse(body) as { mediaType: string }).mediaType;
      response.writeHead(200, { 'content-type': mediaType }).end(body);
    };
  };
  const empty = { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(Buffer.from('{}')), size: 2 };
  const manifestWith = (more: object): string =>
    JSON.stringify({ schemaVersion: 2, mediaType: ociManifest, config: empty, layers: [], ...more });
  const entryOf = (body: string, mediaType = ociManifest) => ({
    mediaType,
    digest: digestOf(Buffer.from(body)),
    size: Buffer.byteLength(body),
    artifactType: bundleType,
  });

  const gathered = async (test: TestContext, listener: RequestListener, root: string) => {
    const source = repositorySource(registries(test), {
      registry: await serve(test, listener),
      repository: 'acme/app',
    });
    return gather({ source, digest: digestOf(Buffer.from(root)) }, { attachedIn: [source] }, context(test));
  };

  it('that lists the image as referring to itself, other images, and what is not there: left out, and said', async (test) => {
    const root = manifestWith({});
    const other = manifestWith({ annotations: { other: 'image' } });
    const gone = manifestWith({ annotations: { gone: 'yes' } });
    const odd = { ...entryOf(root), digest: 'sha512:abcdef' };
    const listed = [
      entryOf(root),
      entryOf(other),
      entryOf(gone),
      odd,
      { ...entryOf(other), mediaType: 'text/plain', digest: digestOf(Buffer.from('x')) },
    ];
    const graph = await gathered(test, hostile([root, other], listed), root);
    assert.equal(graph.attachments.length, 0);
    assert.equal(graph.ignored.length, 5);
  });

  it('that lists one referrer many times over: counted once', async (test) => {
    const root = manifestWith({});
    const one = manifestWith({ subject: entryOf(root) });
    const graph = await gathered(test, hostile([root, one], Array(900).fill(entryOf(one))), root);
    assert.equal(graph.attachments.length, 1);
  });

  it('whose referrers refer to each other in a chain without end', async (test) => {
    const chain = [manifestWith({})];
    for (let at = 0; at < 12; at++) chain.push(manifestWith({ subject: entryOf(chain.at(-1) ?? '') }));
    const all = chain.slice(1).map((body) => entryOf(body));
    await assert.rejects(gathered(test, hostile(chain, all), chain[0] ?? ''), { reason: 'IMAGE_TOO_LARGE' });
  });

  it('whose index lists more manifests than are taken', async (test) => {
    const missing = Array.from({ length: 6_000 }, (_, at) =>
      entryOf(manifestWith({ annotations: { at: String(at) } })),
    );
    const root = JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: missing });
    await assert.rejects(gathered(test, hostile([root], []), root), { reason: 'IMAGE_TOO_LARGE' });
  });

  it('whose index lists a manifest that is not there', async (test) => {
    const root = JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests: [entryOf(manifestWith({}))] });
    await assert.rejects(gathered(test, hostile([root], []), root), {
      code: 'not_found',
      reason: 'MANIFEST_NOT_FOUND',
    });
  });

  it('layers that lie elsewhere by their URLs are not asked for', async (test) => {
    const from = await registry(test);
    const to = await registry(test);
    const there = repository(from.host, 'acme/app');
    const config = await there.blob('application/vnd.oci.image.config.v1+json', {});
    const foreign = {
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      digest: digestOf(Buffer.from('elsewhere')),
      size: 9,
      urls: ['https://elsewhere.example/layer'],
    };
    const body = { schemaVersion: 2, mediaType: ociManifest, config, layers: [foreign] };
    const digest = digestOf(Buffer.from(JSON.stringify(body)));
    const host = await serve(test, hostile([JSON.stringify(body)], []));
    const parts = registries(test);
    const source = repositorySource(parts, { registry: host, repository: 'acme/app' });
    const graph = await gather({ source, digest }, { attachedIn: [source] }, context(test));
    assert.deepEqual(
      graph.nodes.get(digest)?.blobs.map((blob) => blob.digest),
      [config.digest],
    );
    const sink = repositorySink(parts, { registry: to.host, repository: 'acme/app' }, 50);
    // The hostile registry has no config either.
    await assert.rejects(copy(graph, { image: sink, attached: sink, tag: 'v1', force: false }, context(test)), {
      code: 'not_found',
    });
  });
});

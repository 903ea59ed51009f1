import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { type DevRegistry, startRegistry } from '../../src/dev/registry.ts';
import { sha256 } from '../../src/model/digest.ts';
import type { Attached } from '../../src/model/signature.ts';
import type { Registry } from '../../src/registry/port.ts';
import { bundle, clientFor, fetchJson, isError, layer, resolve, tagOf, within } from './world.ts';

const contents = (attached: readonly Attached[]): string[] =>
  attached.map(({ content }) => Buffer.from(content).toString()).sort();
const written = (...names: string[]): string[] => names.map((name) => JSON.stringify({ bundle: name })).sort();

for (const referrers of [true, false]) {
  for (const etag of [true, false]) {
    describe(`registry ${referrers ? 'with' : 'without'} referrers, ${etag ? 'with' : 'without'} ETag`, () => {
      let server: DevRegistry;
      let registry: Registry;
      let other: Registry;
      before(async () => {
        server = await startRegistry({ referrers, etag });
        registry = clientFor(server.host);
        other = clientFor(server.host);
      });
      after(async () => {
        await Promise.all([registry.close(), other.close()]);
        await server.close();
      });
      const image = async (repository: string) => {
        const { digest } = await pushImage(server.host, repository, 'v1');
        const resolved = await resolve(registry, `${server.host}/${repository}:v1`);
        assert.equal(resolved.descriptor.digest, digest);
        return resolved;
      };

      test('every layout is stored where it says and read back as it was', async () => {
        const resolved = await image('acme/app');
        const sig = await registry.attach(resolved, layer('s1'), undefined, within(5_000));
        const att = await registry.attach(resolved, layer('a1', 'att'), undefined, within(5_000));
        const ref = await registry.attach(resolved, bundle('b1'), undefined, within(5_000));
        assert.equal(sig.tag, tagOf(resolved.descriptor.digest, '.sig'));
        assert.equal(att.tag, tagOf(resolved.descriptor.digest, '.att'));
        assert.equal(ref.by, referrers ? 'referrer' : 'fallback-tag');
        assert.equal(ref.tag, referrers ? undefined : tagOf(resolved.descriptor.digest));

        const read = await other.attachments(resolved, undefined, within(5_000));
        assert.deepEqual(
          read.map(({ storedAt }) => storedAt),
          [sig, att, ref],
        );
        assert.deepEqual(Buffer.from(read[0]?.content ?? []), layer('s1').content);
        assert.equal(read[0]?.annotations['dev.cosignproject.cosign/signature'], 's1');
        assert.equal(read[2]?.annotations['dev.sigstore.bundle.content'], 'dsse-envelope');
      });

      test('a signature is added to those that are there; the same one twice is one', async () => {
        const resolved = await image('acme/twice');
        for (const name of ['s1', 's2', 's1']) await registry.attach(resolved, layer(name), undefined, within(5_000));
        const again = await other.attach(resolved, layer('s2'), undefined, within(5_000));
        const found = await registry.attachments(resolved, undefined, within(5_000));
        assert.deepEqual(
          contents(found),
          [{ payload: 's1' }, { payload: 's2' }].map((value) => JSON.stringify(value)),
        );
        assert.equal(again.digest, found[0]?.storedAt.digest);
      });

      test('20 concurrent writers of one process lose nothing', async () => {
        const resolved = await image('acme/many');
        const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
        await Promise.all(
          names.flatMap((name) => [
            registry.attach(resolved, layer(name), undefined, within(20_000)),
            registry.attach(resolved, layer(name, 'att'), undefined, within(20_000)),
            registry.attach(resolved, bundle(name), undefined, within(20_000)),
          ]),
        );
        const found = await other.attachments(resolved, undefined, within(10_000));
        const of = (suffix: string) => found.filter(({ storedAt }) => storedAt.tag?.endsWith(suffix));
        assert.equal(of('.sig').length, 20);
        assert.equal(of('.att').length, 20);
        assert.deepEqual(contents(found.filter(({ mediaType }) => mediaType.includes('bundle'))), written(...names));
      });

      test('signatures go to another repository when one is named, and are read from there', async () => {
        const resolved = await image('acme/elsewhere');
        const repository = `${server.host}/acme/signatures`;
        const stored = await registry.attach(resolved, layer('s1'), repository, within(5_000));
        await registry.attach(resolved, bundle('b1'), repository, within(5_000));
        assert.equal(stored.repository, repository);
        assert.equal((await registry.attachments(resolved, undefined, within(5_000))).length, 0);
        assert.equal((await other.attachments(resolved, repository, within(5_000))).length, 2);
      });
    });
  }
}

test('two processes with ETag lose nothing on tags', async (t) => {
  const server = await startRegistry({ referrers: false, etag: true });
  const replicas = [clientFor(server.host), clientFor(server.host)];
  t.after(async () => {
    await Promise.all(replicas.map((replica) => replica.close()));
    await server.close();
  });
  await pushImage(server.host, 'acme/app', 'v1');
  const reader = clientFor(server.host);
  replicas.push(reader);
  const image = await resolve(reader, `${server.host}/acme/app:v1`);
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => [
      replicas[index % 2]?.attach(image, layer(`n${index}`), undefined, within(20_000)),
      replicas[index % 2]?.attach(image, bundle(`n${index}`), undefined, within(20_000)),
    ]).flat(),
  );
  const found = await reader.attachments(image, undefined, within(5_000));
  assert.equal(found.filter(({ storedAt }) => storedAt.by === 'tag').length, 20);
  assert.equal(found.filter(({ storedAt }) => storedAt.by === 'fallback-tag').length, 20);
});

describe('the documents that cosign reads', () => {
  let server: DevRegistry;
  let registry: Registry;
  before(async () => {
    server = await startRegistry();
    registry = clientFor(server.host);
  });
  after(async () => {
    await registry.close();
    await server.close();
  });

  test('.sig: an image with one layer and one diff_id a signature', async () => {
    await pushImage(server.host, 'acme/app', 'v1');
    const image = await resolve(registry, `${server.host}/acme/app:v1`);
    for (const name of ['s1', 's2']) await registry.attach(image, layer(name), undefined, within(5_000));
    const base = `http://${server.host}/v2/acme/app`;
    const manifest = (await fetchJson(`${base}/manifests/${tagOf(image.descriptor.digest, '.sig')}`)) as unknown as {
      config: { digest: string };
    };
    const layers = ['s1', 's2'].map((name) => ({
      mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      size: layer(name).content.byteLength,
      digest: sha256(layer(name).content),
      annotations: { 'dev.cosignproject.cosign/signature': name },
    }));
    const config = {
      architecture: '',
      created: '0001-01-01T00:00:00Z',
      history: [{ created: '0001-01-01T00:00:00Z' }, { created: '0001-01-01T00:00:00Z' }],
      os: '',
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      config: {},
    };
    const bytes = Buffer.from(JSON.stringify(config));
    assert.deepEqual(manifest, {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        size: bytes.byteLength,
        digest: sha256(bytes),
      },
      layers,
    });
    assert.deepEqual(await fetchJson(`${base}/blobs/${manifest.config.digest}`), config);
  });

  test('bundle: a manifest of its own with subject, empty config and artifactType in both places', async () => {
    await pushImage(server.host, 'acme/ref', 'v1');
    const image = await resolve(registry, `${server.host}/acme/ref:v1`);
    const sealed = bundle('b1');
    const stored = await registry.attach(image, sealed, undefined, within(5_000));
    const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    assert.deepEqual(await fetchJson(`http://${server.host}/v2/acme/ref/manifests/${stored.digest}`), {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: type,
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        size: 2,
        digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
        artifactType: type,
      },
      layers: [{ mediaType: type, size: sealed.content.byteLength, digest: sha256(sealed.content) }],
      subject: {
        mediaType: 'application/vnd.oci.image.index.v1+json',
        size: image.descriptor.size,
        digest: image.descriptor.digest,
      },
      annotations: { 'dev.sigstore.bundle.content': 'dsse-envelope' },
    });
  });
});

describe('requests in the steady state', () => {
  const upload = ['POST upload', 'PUT upload'];
  for (const { referrers, wholeUpload, sealed, wanted } of [
    { referrers: true, wholeUpload: false, sealed: bundle, wanted: [...upload, 'PUT manifest'] },
    { referrers: true, wholeUpload: true, sealed: bundle, wanted: ['POST upload', 'PUT manifest'] },
    {
      referrers: true,
      wholeUpload: true,
      sealed: layer,
      wanted: ['POST upload', 'GET manifest', 'POST upload', 'PUT manifest', 'GET manifest'],
    },
    {
      referrers: true,
      wholeUpload: false,
      sealed: layer,
      wanted: [...upload, 'GET manifest', ...upload, 'PUT manifest', 'GET manifest'],
    },
    {
      referrers: false,
      wholeUpload: true,
      sealed: bundle,
      wanted: ['POST upload', 'PUT manifest', 'GET manifest', 'PUT manifest', 'GET manifest'],
    },
  ]) {
    const kind = `${referrers ? 'referrers' : 'no referrers'}, uploads in ${wholeUpload ? 'one' : 'two'}`;
    test(`${sealed('x').format}, ${kind}: ${wanted.length} requests`, async (t) => {
      const server = await startRegistry({ referrers, wholeUpload });
      const registry = clientFor(server.host);
      t.after(async () => {
        await registry.close();
        await server.close();
      });
      const { digest } = await pushImage(server.host, 'acme/app', 'v1');
      const reference = `${server.host}/acme/app@${digest}`;
      await registry.attach(await resolve(registry, reference), sealed('first'), undefined, within(5_000));
      server.requests.length = 0;
      await registry.attach(await resolve(registry, reference), sealed('second'), undefined, within(5_000));
      assert.deepEqual(
        server.requests.map(({ method, kind }) => `${method} ${kind}`),
        wanted,
      );
    });
  }

  test('a tag is resolved every time, a digest once', async (t) => {
    const server = await startRegistry();
    const registry = clientFor(server.host);
    t.after(async () => {
      await registry.close();
      await server.close();
    });
    const one = await pushImage(server.host, 'acme/app', 'v1', { content: 'one' });
    assert.equal((await resolve(registry, `${server.host}/acme/app:v1`)).descriptor.digest, one.digest);
    const two = await pushImage(server.host, 'acme/app', 'v1', { content: 'two' });
    server.requests.length = 0;
    assert.equal((await resolve(registry, `${server.host}/acme/app:v1`)).descriptor.digest, two.digest);
    for (let call = 0; call < 3; call++) {
      assert.equal((await resolve(registry, `${server.host}/acme/app@${one.digest}`)).descriptor.digest, one.digest);
    }
    assert.deepEqual(
      server.requests.map(({ method, kind }) => `${method} ${kind}`),
      ['HEAD manifest', 'GET manifest'],
    );
  });
});

test('an image that carries as many signatures as a tag may hold gets no more', async (t) => {
  const server = await startRegistry();
  const registry = clientFor(server.host);
  t.after(async () => {
    await registry.close();
    await server.close();
  });
  await pushImage(server.host, 'acme/full', 'v1');
  const image = await resolve(registry, `${server.host}/acme/full:v1`);
  await Promise.all(
    Array.from({ length: 40 }, (_, index) => registry.attach(image, layer(`n${index}`), undefined, within(20_000))),
  );
  const base = `http://${server.host}/v2/acme/full/manifests/${tagOf(image.descriptor.digest, '.sig')}`;
  const manifest = (await fetchJson(base)) as unknown as { layers: unknown[] };
  const layers = Array.from({ length: 1_000 }, (_, index) => manifest.layers[index % 40]);
  await fetch(base, {
    method: 'PUT',
    headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
    body: JSON.stringify({ ...manifest, layers }),
  });
  await assert.rejects(
    registry.attach(image, layer('one more'), undefined, within(5_000)),
    isError('failed_precondition', 'TOO_MANY_SIGNATURES'),
  );
});

test('blobs that the registry has lost since are uploaded again', async (t) => {
  const server = await startRegistry();
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  await registry.attach(image, bundle('b1'), undefined, within(5_000));
  const config = sha256(Buffer.from('{}'));
  const deleted = await fetch(`http://${server.host}/v2/acme/app/blobs/${config}`, { method: 'DELETE' });
  assert.equal(deleted.status, 202);
  await registry.attach(image, bundle('b2'), undefined, within(5_000));
  assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 2);
});

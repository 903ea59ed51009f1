import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { repositoryClient } from '../../src/dev/registry/client.ts';
import type { Digest } from '../../src/model/digest.ts';
import type { ResolvedImage } from '../../src/model/subject.ts';
import { type Rule, startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

describe('a registry that lies', () => {
  const lying = async (rule: Rule, run: (host: string, image: ResolvedImage) => Promise<unknown>): Promise<void> => {
    const server = await startFaultRegistry();
    const registry = clientFor(server.host);
    try {
      await pushImage(server.host, 'acme/app', 'v1');
      const image = await resolve(registry, `${server.host}/acme/app:v1`);
      await registry.attach(image, layer('s1'), undefined, within(5_000));
      await registry.attach(image, bundle('b1'), undefined, within(5_000));
      server.script(rule);
      await run(server.host, image);
    } finally {
      await registry.close();
      await server.close();
    }
  };
  const wrong = `sha256:${'0'.repeat(64)}`;
  const fresh = clientFor;

  test('another digest than the one asked for', () =>
    lying(
      { path: /manifests/, fault: { kind: 'headers', headers: { 'docker-content-digest': wrong } } },
      async (host, image) => {
        const registry = fresh(host);
        await assert.rejects(
          resolve(registry, `${host}/acme/app@${image.descriptor.digest}`),
          isError('data_loss', 'DIGEST_MISMATCH'),
        );
        await registry.close();
      },
    ));

  test('a tag whose digest header does not fit its body', () =>
    lying(
      { method: 'GET', path: /manifests/, fault: { kind: 'headers', headers: { 'docker-content-digest': wrong } } },
      async (host, image) => {
        const registry = fresh(host);
        await assert.rejects(
          registry.attachments(image, undefined, within(5_000)),
          isError('data_loss', 'DIGEST_MISMATCH'),
        );
        await registry.close();
      },
    ));

  for (const [what, path] of [
    ['manifest', /manifests\/sha256:/],
    ['blob', /blobs\/sha256:/],
  ] as const) {
    test(`another ${what} than the one asked for`, () =>
      lying({ method: 'GET', path, fault: { kind: 'body', body: '{}' } }, async (host, image) => {
        const registry = fresh(host);
        await assert.rejects(
          registry.attachments(image, undefined, within(5_000)),
          isError('data_loss', 'DIGEST_MISMATCH'),
        );
        await registry.close();
      }));
  }

  test('a manifest that was stored as something else', () =>
    lying(
      { method: 'PUT', path: /manifests/, fault: { kind: 'headers', headers: { 'docker-content-digest': wrong } } },
      async (host, image) => {
        const registry = fresh(host);
        await assert.rejects(
          registry.attach(image, bundle('b2'), undefined, within(5_000)),
          isError('data_loss', 'DIGEST_MISMATCH'),
        );
        await registry.close();
      },
    ));

  test('no digest header on HEAD: the digest is taken from the bytes', () =>
    lying(
      {
        method: 'HEAD',
        path: /manifests/,
        fault: { kind: 'headers', headers: { 'docker-content-digest': undefined } },
      },
      async (host, image) => {
        const registry = fresh(host);
        assert.deepEqual((await resolve(registry, `${host}/acme/app:v1`)).descriptor, image.descriptor);
        await registry.close();
      },
    ));

  for (const [what, path] of [
    ['manifests', /manifests\/sha256-/],
    ['referrers', /referrers/],
    ['blobs', /blobs\/sha256:/],
  ] as const) {
    test(`endless ${what}`, () =>
      lying({ method: 'GET', path, fault: { kind: 'flood', bytes: 200_000_000 } }, async (host, image) => {
        const registry = fresh(host);
        await assert.rejects(
          registry.attachments(image, undefined, within(5_000)),
          isError('unavailable', 'RESPONSE_TOO_LARGE'),
        );
        await registry.close();
      }));
  }

  test('OCI-Subject without a referrers API: the fallback tag is written', async () => {
    const server = await startFaultRegistry({ referrers: true });
    const registry = fresh(server.host);
    await pushImage(server.host, 'acme/app', 'v1');
    const image = await resolve(registry, `${server.host}/acme/app:v1`);
    server.script({ path: /referrers/, fault: { kind: 'answer', status: 404 } });
    const stored = await registry.attach(image, bundle('b1'), undefined, within(5_000));
    assert.equal(stored.by, 'fallback-tag');
    assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 1);
    await registry.close();
    await server.close();
  });

  test('a referrers API without OCI-Subject: no fallback tag', async () => {
    const server = await startFaultRegistry({ referrers: true });
    const registry = fresh(server.host);
    await pushImage(server.host, 'acme/app', 'v1');
    const image = await resolve(registry, `${server.host}/acme/app:v1`);
    server.script({
      method: 'PUT',
      path: /manifests/,
      fault: { kind: 'headers', headers: { 'oci-subject': undefined } },
    });
    for (const name of ['b1', 'b2']) {
      assert.equal((await registry.attach(image, bundle(name), undefined, within(5_000))).by, 'referrer');
    }
    await registry.close();
    await server.close();
  });

  test('referrers of another image, other artifacts and mislabelled bundles', async () => {
    const server = await startFaultRegistry();
    const registry = fresh(server.host);
    await pushImage(server.host, 'acme/app', 'v1');
    const image = await resolve(registry, `${server.host}/acme/app:v1`);
    const { digest } = await registry.attach(image, bundle('b1'), undefined, within(5_000));
    const other = { ...image, descriptor: { ...image.descriptor, digest: `sha256:${'1'.repeat(64)}` as const } };
    const foreign = await registry.attach(other, bundle('b2'), undefined, within(5_000));
    const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 10 };
    const manifests = [
      { ...entry, digest, artifactType: 'application/vnd.oci.empty.v1+json' },
      { ...entry, digest: foreign.digest },
      { ...entry, digest: `sha256:${'2'.repeat(64)}`, artifactType: 'application/spdx+json' },
    ];
    server.script({
      path: /referrers/,
      fault: { kind: 'body', body: JSON.stringify({ schemaVersion: 2, manifests }) },
    });
    const found = await registry.attachments(image, undefined, within(5_000));
    assert.deepEqual(
      found.map(({ storedAt }) => storedAt.digest),
      [digest],
    );
    await registry.close();
    await server.close();
  });
});

test('a referrer with another digest algorithm does not hide the others', async (t) => {
  const server = await startFaultRegistry();
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const { digest } = await registry.attach(image, bundle('b1'), undefined, within(5_000));
  const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', size: 10 };
  const manifests = [
    { ...entry, digest: `sha512:${'a'.repeat(128)}` },
    { ...entry, digest },
  ];
  server.script({ path: /referrers/, fault: { kind: 'body', body: JSON.stringify({ schemaVersion: 2, manifests }) } });
  assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 1);
});

describe('a signature tag that anybody may have written', () => {
  const payload = 'application/vnd.dev.cosign.simplesigning.v1+json';
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const none = `sha256:${'0'.repeat(64)}`;

  /** Reads what is attached when the `.sig` tag holds these layers. */
  const reading = async (t: TestContext, layersOf: (blob: Digest) => readonly (readonly object[])[]) => {
    const server = await startFaultRegistry();
    const registry = clientFor(server.host);
    t.after(() => Promise.all([registry.close(), server.close()]));
    await pushImage(server.host, 'acme/app', 'v1');
    const image = await resolve(registry, `${server.host}/acme/app:v1`);
    const blob = await repositoryClient(server.host, 'acme/app').putBlob(Buffer.alloc(60_000, 0x20));
    return layersOf(blob).map((layers) => () => {
      const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest: none, size: 2 };
      const body = JSON.stringify({ schemaVersion: 2, mediaType, config, layers });
      const fault = { kind: 'answer', status: 200, headers: { 'content-type': mediaType }, body } as const;
      server.script({ path: new RegExp(`${tagOf(image.descriptor.digest)}[.]sig$`), fault });
      return registry.attachments(image, undefined, within(5_000));
    });
  };

  test('layers that say they are small: the bound on all of them together holds', async (t) => {
    const sizes = [0, 59_999, 60_001, 60_000, 0];
    const reads = await reading(t, (digest) => sizes.map((size) => [{ mediaType: payload, digest, size }]));
    for (const [index, read] of reads.entries()) {
      // The last one was read, and kept, before.
      if (sizes[index] === 60_000) assert.equal((await read()).length, 1);
      else await assert.rejects(read(), isError('data_loss', 'DIGEST_MISMATCH'));
    }
  });

  test('a bad manifest is told of in our words: nothing out of it is repeated', async (t) => {
    const name = `\u001b]52;c;ZXZpbA==\u0007${'x'.repeat(100_000)}`;
    const layer = { mediaType: payload, digest: none, size: 1, annotations: { [name]: 1 } };
    const [read] = await reading(t, () => [[layer]]);
    await assert.rejects(read ?? assert.fail(), (error: Error) => {
      assert.match(error.message, /is not a valid manifest \(layers: /);
      assert.ok(error.message.length < 500 && !/\p{Cc}/u.test(error.message), error.message.slice(0, 500));
      return isError('unavailable', 'REGISTRY_RESPONSE_INVALID')(error);
    });
  });
});

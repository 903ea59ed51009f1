// What is known of a tag is not sent and read again; and what a registry says about it wrongly loses nothing.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import { repositoryClient } from '../../src/dev/registry/client.ts';
import { type FaultRegistry, type Rule, startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

const open = async (t: TestContext, options: DevRegistryOptions) => {
  const server = await startFaultRegistry({ referrers: false, ...options });
  const registry = clientFor(server.host);
  const replica = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), replica.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const tag = tagOf(image.descriptor.digest, '.sig');
  const others = repositoryClient(server.host, 'acme/app');
  const attach = (name: string, by = registry) => by.attach(image, layer(name), undefined, within(10_000));
  const put = async (body: string): Promise<void> => {
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    const answer = await fetch(`http://${server.host}/v2/acme/app/manifests/${tag}`, { method: 'PUT', headers, body });
    assert.equal(answer.status, 201, await answer.text());
  };
  const layerOf = async (name: string) => {
    const { mediaType, content, attachment } = layer(name);
    const digest = await others.putBlob(Buffer.from(content));
    return {
      mediaType,
      size: content.byteLength,
      digest,
      annotations: { ...attachment.annotations, ключ: '\u2028"\\' },
    };
  };
  /** Makes the tag hold these and no others, written as nobody here would. */
  const overwrite = async (...names: string[]): Promise<void> => {
    const config = await others.putBlob(Buffer.from('{}'));
    const image = {
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      layers: await Promise.all(names.map(layerOf)),
      unheardOf: { layers: [] },
      annotations: { by: 'others' },
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
      schemaVersion: 2,
    };
    await put(JSON.stringify(image, null, 3));
  };
  const found = async (): Promise<string[]> =>
    (await replica.attachments(image, undefined, within(5_000))).map(
      ({ annotations }) => annotations['dev.cosignproject.cosign/signature'] ?? '',
    );
  const reading = (fault: Rule['fault'], more: Partial<Rule> = {}): Rule => ({
    method: 'GET',
    path: new RegExp(`manifests/${tag}$`),
    fault,
    ...more,
  });
  return { server, registry, replica, image, tag, others, attach, overwrite, found, reading };
};

const requestsOf = (server: FaultRegistry): string[] => server.requests.map(({ method, kind }) => `${method} ${kind}`);
/** A signature, a reading, the config, the manifest, and the reading after it. */
const oneMore = ['POST upload', 'GET manifest', 'POST upload', 'PUT manifest', 'GET manifest'];
const otherDigest = `sha256:${'0'.repeat(64)}`;

describe('one signature more', () => {
  for (const etag of [true, 'reads', 'ignored', false] as const) {
    const honoured = etag === true || etag === 'reads';
    test(`ETag ${etag}: the tag is asked for twice, and ${honoured ? 'sent not once' : 'sent'}`, async (t) => {
      const { server, attach, found, reading } = await open(t, { etag });
      for (const name of ['s1', 's2']) await attach(name);
      const sent: boolean[] = [];
      const asked = (own: Readonly<Record<string, string>>) => {
        sent.push(own['content-length'] !== undefined);
        return {};
      };
      server.script(reading({ kind: 'headers', headers: asked }));
      server.requests.length = 0;
      await attach('s3');
      assert.deepEqual(requestsOf(server), oneMore);
      assert.deepEqual(sent, honoured ? [false, false] : [true, true]);
      assert.deepEqual(await found(), ['s1', 's2', 's3']);
    });
  }

  test('a fallback tag as well', async (t) => {
    const { server, registry, image, found } = await open(t, {});
    const attach = (name: string) => registry.attach(image, bundle(name), undefined, within(10_000));
    for (const name of ['b1', 'b2']) await attach(name);
    const conditions: unknown[] = [];
    const path = new RegExp(`manifests/${tagOf(image.descriptor.digest)}$`);
    const when: Rule['when'] = ({ headers }) => conditions.push(headers['if-none-match']) < 0;
    server.script({ method: 'GET', path, when, fault: { kind: 'reset' } });
    await attach('b3');
    assert.equal(conditions.length, 2);
    for (const condition of conditions) assert.match(String(condition), /^"sha256:[0-9a-f]{64}"$/);
    server.script();
    assert.equal((await found()).length, 3);
  });

  test('whoever wrote what is there: a whole manifest and its config, without white space', async (t) => {
    const { server, replica, tag, others, attach, overwrite, found } = await open(t, { etag: 'reads' });
    const names: string[] = [];
    for (const [at, writer] of [...'ooroxoorrxrro'].entries()) {
      names.push(`s${at}`);
      if (writer === 'x') {
        await overwrite(...names);
        continue;
      }
      await attach(`s${at}`, writer === 'r' ? replica : undefined);
      const answer = await fetch(`http://${server.host}/v2/acme/app/manifests/${tag}`);
      const text = await answer.text();
      const json = JSON.parse(text);
      assert.equal(text, JSON.stringify(json));
      assert.deepEqual(await found(), names);
      assert.deepEqual(json.unheardOf, names.length > 4 ? { layers: [] } : undefined);
      const config = await others.blob(json.config.digest);
      assert.equal(config.byteLength, json.config.size);
      const { history, rootfs } = JSON.parse(config.toString());
      assert.deepEqual(
        rootfs.diff_ids,
        json.layers.map(({ digest }: { digest: string }) => digest),
      );
      assert.equal(history.length, names.length);
    }
  });
});

describe('a registry that is wrong about what has changed', () => {
  test('an old reading is said to be the last one, and the write refused: it reads it all, nothing is lost', async (t) => {
    const { server, attach, overwrite, found, reading } = await open(t, { etag: true });
    await attach('s1');
    await attach('s2');
    await overwrite('s1', 's2', 'theirs');
    const unchanged = reading(
      { kind: 'answer', status: 304 },
      { when: ({ headers }) => headers['if-none-match'] !== undefined },
    );
    server.script({ ...unchanged, times: 2 });
    await attach('s3');
    server.script();
    assert.deepEqual(await found(), ['s1', 's2', 'theirs', 's3']);
  });

  test('unchanged, and another digest: an error, and then all is read', async (t) => {
    const { server, attach, overwrite, found, reading } = await open(t, { etag: 'reads' });
    await attach('s1');
    await overwrite('s1', 'theirs');
    const headers = { 'docker-content-digest': otherDigest };
    server.script(reading({ kind: 'answer', status: 304, headers }, { times: 1 }));
    await assert.rejects(attach('s2'), isError('data_loss', 'DIGEST_MISMATCH'));
    await attach('s3');
    assert.deepEqual(await found(), ['s1', 'theirs', 's3']);
  });

  test('unchanged, with another ETag: all is read', async (t) => {
    const { server, attach, overwrite, found, reading } = await open(t, { etag: 'reads' });
    await attach('s1');
    await overwrite('s1', 'theirs');
    server.script(reading({ kind: 'answer', status: 304, headers: { etag: `"${otherDigest}"` } }, { times: 1 }));
    await attach('s2');
    assert.deepEqual(await found(), ['s1', 'theirs', 's2']);
  });

  test('unchanged, when nobody has asked: an error', async (t) => {
    const { server, attach, reading } = await open(t, { etag: false });
    server.script(reading({ kind: 'answer', status: 304 }));
    await assert.rejects(attach('s1'), isError('unavailable', 'REGISTRY_RESPONSE_INVALID'));
  });

  test('an ETag that is no digest may never change: it is not relied on', async (t) => {
    const { server, attach, overwrite, found, reading } = await open(t, { etag: false });
    const constant = { etag: '"always the same"' };
    server.script(
      reading({ kind: 'answer', status: 304 }, { when: ({ headers }) => headers['if-none-match'] !== undefined }),
      reading({ kind: 'headers', headers: constant }),
    );
    await attach('s1');
    await attach('s2');
    await overwrite('s1', 's2', 'theirs');
    await attach('s3');
    assert.deepEqual(await found(), ['s1', 's2', 'theirs', 's3']);
  });

  test('the same bytes, and another digest: an error', async (t) => {
    const { server, attach, reading } = await open(t, { etag: false });
    await attach('s1');
    server.script(reading({ kind: 'headers', headers: { 'docker-content-digest': otherDigest } }, { times: 1 }));
    await assert.rejects(attach('s2'), isError('data_loss', 'DIGEST_MISMATCH'));
  });

  test('the same bytes, as another kind of manifest: an error (CVE-2021-41190)', async (t) => {
    const { server, attach, reading } = await open(t, { etag: false });
    await attach('s1');
    const headers = { 'content-type': 'application/vnd.oci.image.index.v1+json' };
    server.script(reading({ kind: 'headers', headers }, { times: 1 }));
    await assert.rejects(attach('s2'), isError('unavailable', 'REGISTRY_RESPONSE_INVALID'));
  });
});

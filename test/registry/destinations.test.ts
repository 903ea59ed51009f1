import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { pushImage } from '../../src/dev/image.ts';
import { type DevRegistry, startRegistry } from '../../src/dev/registry.ts';
import { type RepositoryClient, repositoryClient } from '../../src/dev/registry/client.ts';
import { sha256 } from '../../src/model/digest.ts';
import type { Registry } from '../../src/registry/port.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

const ociManifest = 'application/vnd.oci.image.manifest.v1+json';

/** A client with this configuration; `HOST` stands for the registry. */
const configured = (host: string, destinations: object): Registry => {
  const text = JSON.stringify({ destinations }).replaceAll('HOST', host);
  const settings = registrySettings.parse(JSON.parse(text));
  return clientFor(host, undefined, 3, { destinations: settings.destinations });
};

for (const referrers of [true, false]) {
  describe(`destinations, in a registry ${referrers ? 'with' : 'without'} referrers`, () => {
    let server: DevRegistry;
    const opened: Registry[] = [];
    before(async () => {
      server = await startRegistry({ referrers });
    });
    after(async () => {
      await Promise.all(opened.map((registry) => registry.close()));
      await server.close();
    });
    const open = (destinations: object): Registry => {
      const registry = configured(server.host, destinations);
      opened.push(registry);
      return registry;
    };
    const image = async (registry: Registry, repository: string) => {
      await pushImage(server.host, repository, 'v1');
      return resolve(registry, `${server.host}/${repository}:v1`);
    };
    const at = (repository: string): RepositoryClient => repositoryClient(server.host, repository);

    test('signatures of some repositories lie in another one; a request may still name a third', async () => {
      const registry = open([
        { repositories: ['HOST/other/*'], signatureRepository: 'HOST/never/here' },
        { repositories: ['HOST/acme/**'], signatureRepository: 'HOST/signatures/all' },
        { repositories: ['HOST/acme/app'], signatureRepository: 'HOST/too/late' },
      ]);
      const app = await image(registry, 'acme/app');
      for (const sealed of [layer('s1'), bundle('b1')]) {
        const stored = await registry.attach(app, sealed, undefined, within(5_000));
        assert.equal(stored.repository, `${server.host}/signatures/all`);
      }
      assert.equal((await registry.attachments(app, undefined, within(5_000))).length, 2);
      const beside = `${server.host}/acme/app`;
      assert.equal((await registry.attachments(app, beside, within(5_000))).length, 0);
      assert.equal((await registry.attach(app, layer('s2'), beside, within(5_000))).repository, beside);

      const elsewhere = await image(registry, 'beside/app');
      const stored = await registry.attach(elsewhere, layer('s1'), undefined, within(5_000));
      assert.equal(stored.repository, `${server.host}/beside/app`);
    });

    test('a tag prefix: .sig and .att have it, and are read with it', async () => {
      const registry = open([{ repositories: ['HOST/**'], tagPrefix: 'team-a_' }]);
      const app = await image(registry, 'prefixed/app');
      const tags = await Promise.all(
        (['sig', 'att'] as const).map(async (suffix) => {
          const { tag } = await registry.attach(app, layer('s1', suffix), undefined, within(5_000));
          return tag;
        }),
      );
      const { digest } = app.descriptor;
      assert.deepEqual(tags, [`team-a_${tagOf(digest, '.sig')}`, `team-a_${tagOf(digest, '.att')}`]);
      await registry.attach(app, bundle('b1'), undefined, within(5_000));
      assert.equal((await at('prefixed/app').tags()).includes(tagOf(digest)), !referrers);
      assert.equal((await registry.attachments(app, undefined, within(5_000))).length, 3);
    });

    test('Docker media types: for what is new, and what is there keeps its own', async () => {
      const docker = open([{ repositories: ['HOST/docker/*'], dockerMediaTypes: true }]);
      const plain = open([]);
      const app = await image(docker, 'docker/app');
      for (const name of ['s1', 's2']) {
        const writer = name === 's1' ? docker : plain;
        await writer.attach(app, layer(name), undefined, within(5_000));
        const url = `http://${server.host}/v2/docker/app/manifests/${tagOf(app.descriptor.digest, '.sig')}`;
        const answer = await fetch(url);
        const manifest = (await answer.json()) as { mediaType: string; config: { mediaType: string } };
        const type = 'application/vnd.docker.distribution.manifest.v2+json';
        assert.deepEqual([answer.headers.get('content-type'), manifest.mediaType], [type, type]);
        assert.equal(manifest.config.mediaType, 'application/vnd.docker.container.image.v1+json');
      }
      assert.equal((await plain.attachments(app, undefined, within(5_000))).length, 2);
    });

    test('the fallback tag always: there as well, and each bundle is found once', async () => {
      const registry = open([{ repositories: ['HOST/both/*'], fallbackTag: 'always' }]);
      const app = await image(registry, 'both/app');
      const tag = tagOf(app.descriptor.digest);
      const stored = await registry.attach(app, bundle('b1'), undefined, within(5_000));
      assert.deepEqual([stored.by, stored.tag], [referrers ? 'referrer' : 'fallback-tag', tag]);
      const { manifest } = await at('both/app').manifest(tag);
      assert.deepEqual(
        manifest.manifests?.map(({ digest }) => digest),
        [stored.digest],
      );
      for (const reader of [registry, open([])]) {
        assert.equal((await reader.attachments(app, undefined, within(5_000))).length, 1);
      }
    });

    test('the fallback tag never: a registry without referrers is refused, naming what it stored', async () => {
      const registry = open([{ repositories: ['HOST/never/*'], fallbackTag: 'never' }]);
      const app = await image(registry, 'never/app');
      const attach = () => registry.attach(app, bundle('b1'), undefined, within(5_000));
      if (referrers) assert.equal((await attach()).by, 'referrer');
      else await assert.rejects(attach(), isError('failed_precondition', 'REFERRERS_UNSUPPORTED'));
      assert.equal((await at('never/app').tags()).includes(tagOf(app.descriptor.digest)), false);
    });

    for (const [what, artifactType, mediaType] of [
      ['signatures', 'application/vnd.dev.cosign.artifact.sig.v1+json', layer('').mediaType],
      ['attestations', 'application/vnd.in-toto+json', layer('', 'att').mediaType],
    ] as const) {
      test(`the legacy mode oci-1-1 is read: ${what} as layers of a referrer`, async () => {
        const registry = open([]);
        const repository = `legacy/${what}`;
        const app = await image(registry, repository);
        const client = at(repository);
        const layers = await Promise.all(
          ['s1', 's2'].map(async (name) => {
            const content = Buffer.from(name);
            const annotations = { 'dev.cosignproject.cosign/signature': name };
            return { mediaType, digest: await client.putBlob(content), size: content.byteLength, annotations };
          }),
        );
        const config = { mediaType: artifactType, digest: await client.putBlob(Buffer.from('{}')), size: 2 };
        const { digest, size } = app.descriptor;
        const subject = { mediaType: app.descriptor.mediaType, digest, size };
        const manifest = { schemaVersion: 2, mediaType: ociManifest, config, layers, subject };
        const stored = await client.putManifest(manifest);
        if (!referrers) {
          const entry = { mediaType: ociManifest, digest: stored, size: JSON.stringify(manifest).length, artifactType };
          const mediaTypeOfIndex = 'application/vnd.oci.image.index.v1+json';
          const index = { schemaVersion: 2, mediaType: mediaTypeOfIndex, manifests: [entry] };
          await client.putManifest(index, tagOf(digest));
        }
        const found = await registry.attachments(app, undefined, within(5_000));
        assert.deepEqual(
          found.map(({ storedAt, annotations }) => [storedAt.by, annotations['dev.cosignproject.cosign/signature']]),
          ['s1', 's2'].map((name) => [referrers ? 'referrer' : 'fallback-tag', name]),
        );
        assert.equal(sha256(found[0]?.content ?? Buffer.alloc(0)), layers[0]?.digest);
      });
    }
  });
}

test('bad settings are refused, and say why', () => {
  const faults = (destination: object, more: object = {}): string[] => {
    const result = registrySettings.safeParse({
      destinations: [{ repositories: ['a.b/**'], ...destination }],
      ...more,
    });
    return (result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
  };
  assert.deepEqual(faults({}), []);
  assert.match(faults({ signatureRepository: 'a.b/c:v1' }).join(), /^destinations\.0\.signatureRepository: .*tag/);
  assert.match(faults({ signatureRepository: 'https://a.b/c' }).join(), /signatureRepository: .*scheme/);
  assert.match(faults({ tagPrefix: '.x' }).join(), /tagPrefix: must begin/);
  assert.match(faults({ tagPrefix: 'x'.repeat(51) }).join(), /tagPrefix: .*50/);
  assert.match(faults({ repositories: ['a.b/**/c'] }).join(), /repositories\.0: /);
  assert.match(faults({ repositories: [] }).join(), /repositories: /);
  assert.match(faults({ formats: [] }).join(), /formats/);
  assert.match(faults({}, { settleMs: 30_001 }).join(), /settleMs/);
});

test('the examples of deploy/registries.md are configurations', () => {
  const page = readFileSync(new URL('../../deploy/registries.md', import.meta.url), 'utf8');
  const examples = [...page.matchAll(/```yaml\n(.*?)```/gs)].map(
    ([, text = '']) => parse(text) as { registry: unknown },
  );
  const parsed = examples.map(({ registry }) => registrySettings.parse(registry));
  assert.ok(parsed.some(({ destinations }) => destinations.length > 0));
});

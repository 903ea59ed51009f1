// Signatures kept as `registry.destinations` says, read by cosign, crane and oras; what cosign keeps so, read by the service's own reader.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import type { Attached, StoredAt } from '../../src/model/signature.ts';
import type { Registry as RegistryPort } from '../../src/registry/port.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { clientFor, resolve } from '../registry/world.ts';
import { type ServiceWorld, type Signed, startServiceWorld } from '../service-world.ts';
import { sealedOf } from './changed.ts';
import { cosignSign, cosignVerify, generateKeyPair, type KeyPair } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { accepted, refused } from './judge.ts';
import { requirePeers, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const needed = ['cosign-3.1.1', 'cosign-2.5.0', 'crane', 'oras', 'ggcr-registry', 'docker-registry'] as const;
const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json';

for (const [label, start, referrers] of [
  ['ggcr', () => startGgcrRegistry(), true],
  ['distribution 2.8', startDockerRegistry, false],
] as const) {
  describe(`layouts by configuration, ${label}`, { skip: skipWithout(...needed) }, () => {
    const opened: RegistryPort[] = [];
    let registry: Registry;
    let world: ServiceWorld;
    let theirs: KeyPair;
    let publicKey: string;

    before(async () => {
      requirePeers(...needed);
      const folder = temporaryFolder('layouts');
      [registry, theirs] = await Promise.all([start(), generateKeyPair(folder)]);
      const keys = [{ name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' }];
      world = await startServiceWorld({ keys, plainHttpHosts: [registry.host] });
      publicKey = join(folder, 'ours.pub');
      writeFileSync(publicKey, await world.publicKey('ours'));
    });
    after(async () => {
      await Promise.all(opened.map((port) => port.close()));
      await world?.stop();
      await registry?.stop();
    });

    const open = (destination: object): RegistryPort => {
      const destinations = [{ repositories: [`${registry.host}/**`], ...destination }];
      const settings = registrySettings.parse({ destinations });
      const port = clientFor(registry.host, undefined, 3, { destinations: settings.destinations, settleMs: 200 });
      opened.push(port);
      return port;
    };

    /** Signs in one format and stores it through a port of this configuration. */
    const signed = async (port: RegistryPort, image: TestImage, format: string): Promise<StoredAt> => {
      const request = {
        subject: { image: image.ref },
        key: 'ours',
        formats: [format],
        storage: { mode: 'MODE_RETURN_ONLY' },
      };
      const [output] = (await world.ok<Signed>('/v1/sign', request)).outputs;
      assert.ok(output);
      const content = Buffer.from(output.content, 'base64');
      const sealed = sealedOf(output, content, Buffer.from(output.signature, 'base64'), '');
      const owned = openContext('layouts', 20_000);
      try {
        return await port.attach(await resolve(port, image.ref, owned.context), sealed, undefined, owned.context);
      } finally {
        owned.dispose();
      }
    };
    const read = async (port: RegistryPort, image: TestImage): Promise<readonly Attached[]> => {
      const owned = openContext('layouts', 20_000);
      try {
        return await port.attachments(await resolve(port, image.ref, owned.context), undefined, owned.context);
      } finally {
        owned.dispose();
      }
    };
    const crane = async (ref: string): Promise<{ mediaType: string; layers: unknown[]; manifests: unknown[] }> =>
      JSON.parse(succeeded(await run('crane', ['manifest', ref, '--insecure'])).stdout);

    it('another repository, as COSIGN_REPOSITORY', async () => {
      const image = await pushTestImage(registry, 'apart/app:v1');
      const repository = `${registry.host}/signatures/all`;
      const port = open({ signatureRepository: repository });
      for (const format of ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE']) {
        assert.equal((await signed(port, image, format)).repository, repository);
      }
      const env = { COSIGN_REPOSITORY: repository };
      for (const legacy of [true, false]) {
        accepted(await cosignVerify({ key: publicKey, ref: image.ref, legacy, env }), 'in the other repository');
        refused(await cosignVerify({ key: publicKey, ref: image.ref, legacy }), 'beside the image');
        succeeded(await cosignSign({ key: theirs.privateKey, ref: image.ref, legacy, env }));
      }
      assert.equal((await read(port, image)).length, 4);
      assert.equal((await read(open({}), image)).length, 0);
    });

    it('a tag prefix, as --attachment-tag-prefix', async () => {
      const image = await pushTestImage(registry, 'prefixed/app:v1');
      const port = open({ tagPrefix: 'team-a_' });
      const { tag } = await signed(port, image, 'FORMAT_SIMPLE_SIGNING');
      assert.equal(tag, `team-a_${image.digest.replace(':', '-')}.sig`);
      const flags = ['--attachment-tag-prefix=team-a_'];
      for (const version of ['3.1.1', '2.5.0'] as const) {
        const call = { version, ref: image.ref, legacy: true };
        succeeded(await cosignSign({ ...call, key: theirs.privateKey, flags }));
        accepted(await cosignVerify({ ...call, key: publicKey, flags }), `cosign ${version}, with the prefix`);
        refused(await cosignVerify({ ...call, key: publicKey }), `cosign ${version}, without the prefix`);
      }
      // cosign adds no second signature by one key.
      assert.equal((await crane(`${image.repository}:${tag}`)).layers.length, 2);
      assert.equal((await read(port, image)).length, 2);
    });

    it('Docker media types, as COSIGN_DOCKER_MEDIA_TYPES', async () => {
      const image = await pushTestImage(registry, 'docker/app:v1');
      const port = open({ dockerMediaTypes: true });
      const { tag } = await signed(port, image, 'FORMAT_SIMPLE_SIGNING');
      assert.equal((await crane(`${image.repository}:${tag}`)).mediaType, dockerManifest);
      for (const version of ['3.1.1', '2.5.0'] as const) {
        const call = { version, ref: image.ref, legacy: true };
        accepted(await cosignVerify({ ...call, key: publicKey }), `cosign ${version}`);
        succeeded(await cosignSign({ ...call, key: theirs.privateKey }));
        accepted(await cosignVerify({ ...call, key: publicKey }), `cosign ${version}, after its own`);
      }
      assert.equal((await crane(`${image.repository}:${tag}`)).mediaType, dockerManifest);
      assert.equal((await read(port, image)).length, 2);
    });

    it('the fallback tag always: an index for crane, the same referrers for oras, one signature for cosign', async () => {
      const image = await pushTestImage(registry, 'both/app:v1');
      const port = open({ fallbackTag: 'always' });
      const { tag, digest } = await signed(port, image, 'FORMAT_BUNDLE');
      const index = await crane(`${image.repository}:${tag}`);
      assert.deepEqual(
        (index.manifests as { digest: string }[]).map((entry) => entry.digest),
        [digest],
      );
      const discovered = await run('oras', ['discover', '--plain-http', '--format', 'json', image.ref]);
      const listed = JSON.parse(succeeded(discovered).stdout) as { referrers: { digest: string }[] };
      assert.deepEqual(
        listed.referrers.map((entry) => entry.digest),
        [digest],
      );
      accepted(await cosignVerify({ key: publicKey, ref: image.ref }), 'a bundle that is listed twice');
      assert.equal((await read(port, image)).length, 1);
    });

    it('the fallback tag never', async () => {
      const image = await pushTestImage(registry, 'never/app:v1');
      const stored = signed(open({ fallbackTag: 'never' }), image, 'FORMAT_BUNDLE');
      if (referrers) assert.equal((await stored).by, 'referrer');
      else await assert.rejects(stored, { reason: 'REFERRERS_UNSUPPORTED' });
    });

    it("what cosign's mode oci-1-1 keeps as a referrer is read beside what is kept by tag", async () => {
      const image = await pushTestImage(registry, 'legacy/app:v1');
      const port = open({});
      const flags = ['--registry-referrers-mode=oci-1-1'];
      const env = { COSIGN_EXPERIMENTAL: '1' };
      succeeded(await cosignSign({ key: theirs.privateKey, legacy: true, ref: image.ref, flags, env }));
      await signed(port, image, 'FORMAT_SIMPLE_SIGNING');
      assert.deepEqual(
        (await read(port, image)).map(({ storedAt }) => storedAt.by),
        ['tag', referrers ? 'referrer' : 'fallback-tag'],
      );
    });
  });
}

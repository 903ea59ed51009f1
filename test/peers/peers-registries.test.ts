// The harness itself: each registry takes images and signatures, and refuses what is wrong.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cosignAttest, cosignSign, cosignVerify, generateKeyPair } from './cosign.ts';
import type { KeyPair } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { type PeerName, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { answers } from './process.ts';
import {
  dockerConfig,
  startCraneRegistry,
  startDistribution,
  startDockerRegistry,
  startEmbeddedRegistry,
  startGgcrRegistry,
  type Registry,
} from './registries.ts';

interface Index {
  readonly mediaType: string;
  readonly manifests: readonly {
    readonly digest: string;
    readonly platform?: { readonly os: string; readonly architecture: string };
  }[];
}

interface Kind {
  readonly label: string;
  readonly peer: PeerName;
  readonly referrers: boolean;
  /** Asks for no credentials. */
  readonly open: boolean;
  readonly start: () => Promise<Registry>;
}

const kinds: readonly Kind[] = [
  {
    label: 'ggcr with referrers',
    peer: 'ggcr-registry',
    referrers: true,
    open: true,
    start: () => startGgcrRegistry({ referrers: true }),
  },
  {
    label: 'ggcr without referrers',
    peer: 'ggcr-registry',
    referrers: false,
    open: true,
    start: () => startGgcrRegistry({ referrers: false }),
  },
  { label: 'crane registry serve', peer: 'crane', referrers: false, open: true, start: startCraneRegistry },
  { label: 'the embedded one', peer: 'crane', referrers: true, open: true, start: startEmbeddedRegistry },
  { label: 'docker-registry', peer: 'docker-registry', referrers: false, open: true, start: startDockerRegistry },
  { label: 'distribution', peer: 'distribution', referrers: false, open: true, start: () => startDistribution() },
  {
    label: 'distribution, basic',
    peer: 'distribution',
    referrers: false,
    open: false,
    start: () => startDistribution({ auth: 'basic' }),
  },
  {
    label: 'distribution, token',
    peer: 'distribution',
    referrers: false,
    open: false,
    start: () => startDistribution({ auth: 'token' }),
  },
];

for (const kind of kinds) {
  describe(`registry: ${kind.label}`, { skip: skipWithout(kind.peer, 'cosign-3.1.1', 'crane') }, () => {
    let registry: Registry;
    let ours: KeyPair;
    let other: KeyPair;
    before(async () => {
      [registry, ours, other] = await Promise.all([
        kind.start(),
        generateKeyPair(temporaryFolder('ours')),
        generateKeyPair(temporaryFolder('other')),
      ]);
    });
    after(() => registry.stop());

    const crane = async (...args: string[]): Promise<string> =>
      succeeded(await run('crane', [...args, '--insecure'], { env: registry.env })).stdout.trim();

    test('holds an image, and an index of two platforms', async () => {
      const image = await pushTestImage(registry, 'acme/app:v1');
      const manifest = await crane('manifest', image.ref);
      assert.equal(`sha256:${createHash('sha256').update(manifest).digest('hex')}`, image.digest);
      assert.equal(JSON.parse(manifest).mediaType, 'application/vnd.oci.image.manifest.v1+json');

      const index = await pushTestImage(registry, 'acme/multi:v1', { platforms: ['linux/amd64', 'linux/arm64'] });
      const parsed: Index = JSON.parse(await crane('manifest', `${index.repository}:${index.tag}`));
      assert.equal(parsed.mediaType, 'application/vnd.oci.image.index.v1+json');
      assert.deepEqual(
        parsed.manifests.map(({ platform, digest }) => [`${platform?.os}/${platform?.architecture}`, digest]),
        index.platforms.map(({ platform, digest }) => [platform, digest]),
      );
      assert.equal(new Set(index.platforms.map(({ digest }) => digest)).size, 2);
    });

    for (const legacy of [false, true]) {
      test(`cosign signs and verifies ${legacy ? 'a .sig' : 'a bundle'}, and refuses another key`, async () => {
        const { ref, repository, digest } = await pushTestImage(registry, `acme/${legacy ? 'legacy' : 'bundle'}:v1`);
        const call = { ref, legacy, env: registry.env };
        const unsigned = await cosignVerify({ ...call, key: ours.publicKey });
        assert.notEqual(unsigned.code, 0, 'an unsigned image was accepted');

        succeeded(await cosignSign({ ...call, key: ours.privateKey }));
        const accepted = succeeded(await cosignVerify({ ...call, key: ours.publicKey }));
        assert.match(accepted.stdout, new RegExp(digest));
        const refused = await cosignVerify({ ...call, key: other.publicKey });
        assert.notEqual(refused.code, 0, 'a signature of another key was accepted');
        assert.match(refused.stderr, /invalid signature|no matching/);

        const tags = await crane('ls', repository);
        const fallback = digest.replace(':', '-');
        const expected = legacy ? [`${fallback}.sig`, 'v1'] : kind.referrers ? ['v1'] : [fallback, 'v1'];
        assert.deepEqual(tags.split('\n').sort(), expected);
        const referrers = await fetch(
          `${registry.url}/v2/${repository.slice(registry.host.length + 1)}/referrers/${digest}`,
        );
        assert.equal(referrers.status === 200, kind.referrers);
        if (kind.referrers) assert.equal(((await referrers.json()) as Index).manifests.length, legacy ? 0 : 1);
      });

      test(`cosign attests and verifies ${legacy ? 'an .att' : 'a bundle'}, and refuses another type`, async () => {
        const { ref } = await pushTestImage(registry, `acme/attested-${legacy ? 'legacy' : 'bundle'}:v1`);
        const predicate = join(temporaryFolder('predicate'), 'predicate.json');
        writeFileSync(predicate, '{"by":"a test"}');
        const call = { ref, legacy, env: registry.env };
        succeeded(await cosignAttest({ ...call, key: ours.privateKey, type: 'https://example.com/a', predicate }));
        succeeded(await cosignVerify({ ...call, key: ours.publicKey, attestationType: 'https://example.com/a' }));
        const type = await cosignVerify({ ...call, key: ours.publicKey, attestationType: 'https://example.com/b' });
        assert.notEqual(type.code, 0, 'an attestation of another type was accepted');
        const key = await cosignVerify({ ...call, key: other.publicKey, attestationType: 'https://example.com/a' });
        assert.notEqual(key.code, 0, 'an attestation of another key was accepted');
      });
    }

    test('cosign 2.5.0 reads what 3.1.1 signed the legacy way', { skip: skipWithout('cosign-2.5.0') }, async () => {
      const { ref } = await pushTestImage(registry, 'acme/older:v1');
      const call = { ref, legacy: true, env: registry.env };
      succeeded(await cosignSign({ ...call, key: ours.privateKey }));
      succeeded(await cosignVerify({ ...call, version: '2.5.0', key: ours.publicKey }));
      assert.notEqual((await cosignVerify({ ...call, version: '2.5.0', key: other.publicKey })).code, 0);
    });

    test('opens for its credentials alone', async () => {
      const { ref } = await pushTestImage(registry, 'acme/guarded:v1');
      const read = (env: Record<string, string>) => run('crane', ['manifest', ref, '--insecure'], { env });
      assert.equal(registry.credentials === undefined, kind.open);
      if (registry.credentials === undefined) {
        assert.equal((await read({})).code, 0);
        return;
      }
      assert.match((await read({})).stderr, /UNAUTHORIZED|DENIED/);
      const wrong = { ...registry.credentials, password: 'wrong' };
      assert.match((await read({ DOCKER_CONFIG: dockerConfig(registry.host, wrong) })).stderr, /UNAUTHORIZED|401/);
      assert.equal((await read({ ...registry.env })).code, 0);
      if (registry.tokens !== undefined) assert.ok(registry.tokens.scopes.includes('repository:acme/guarded:pull'));
    });

    test('is gone after stop', async () => {
      const second = await kind.start();
      const status = second.credentials === undefined ? 200 : 401;
      assert.ok(await answers(`${second.url}/v2/`, status));
      await second.stop();
      assert.equal(await answers(`${second.url}/v2/`, status), false);
      await second.stop();
    });
  });
}

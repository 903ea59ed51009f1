// Proves the harness itself: the peers start, stop, accept what is right and refuse what is wrong.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, createPublicKey, verify as verifySignature } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  cosignAttest,
  cosignSign,
  cosignSignBlob,
  cosignVerify,
  cosignVerifyBlob,
  generateKeyPair,
  importKeyPair,
} from './cosign.ts';
import type { KeyPair } from './cosign.ts';
import { pushTestImage } from './image.ts';
import {
  absentPeers,
  installer,
  type PeerName,
  peerPath,
  peers,
  requirePeers,
  run,
  skipWithout,
  succeeded,
  temporaryFolder,
} from './peer.ts';
import { answers, startPeer } from './process.ts';
import {
  dockerConfig,
  startDistribution,
  startDockerRegistry,
  startGgcrRegistry,
  type Registry,
} from './registries.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

test('the table of the installer and that of the tests are one', () => {
  const listed = execFileSync(installer, ['--list'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/));
  assert.deepEqual(
    listed.map(([name, version]) => [name, version]),
    peers.map(({ name, version }) => [name, version]),
  );
  const absent = listed.filter((columns) => columns[3] === 'absent').map(([name]) => name);
  assert.deepEqual(
    absent,
    absentPeers().map(({ name }) => name),
  );
});

test('an absent peer is named, with what is not checked and the command that installs it', async (t) => {
  for (const name of ['COUNTERSIGN_PEERS', 'CI', 'REQUIRE_PEERS']) {
    const saved = process.env[name];
    t.after(() => {
      if (saved === undefined) delete process.env[name];
      else process.env[name] = saved;
    });
    delete process.env[name];
  }
  process.env.COUNTERSIGN_PEERS = temporaryFolder('empty');
  assert.equal(peerPath('crane'), undefined);
  assert.ok(absentPeers().some(({ name }) => name === 'crane'));
  assert.throws(() => requirePeers('crane', 'vault'), /crane: .+\n {2}vault: .+\n.*test\/peers\/install crane vault$/);
  await assert.rejects(run('crane', ['version']), /test\/peers\/install crane$/);
  assert.match(String(skipWithout('crane')), /absent: crane/);
  process.env.CI = 'true';
  assert.equal(skipWithout('crane'), false);
});

describe('processes', () => {
  test('run gives what the program said, and its status', { skip: skipWithout('jq') }, async () => {
    assert.deepEqual(await run('jq', ['-c', '.a'], { input: '{"a":[1]}' }), { code: 0, stdout: '[1]\n', stderr: '' });
    const refused = await run('jq', ['.'], { input: '{' });
    assert.notEqual(refused.code, 0);
    assert.throws(() => succeeded(refused), /exit status/);
  });

  test('nothing of this machine reaches a peer', { skip: skipWithout('jq') }, async (t) => {
    process.env.VAULT_TOKEN = 'of-the-machine';
    t.after(() => delete process.env.VAULT_TOKEN);
    const seen = JSON.parse((await run('jq', ['-n', 'env'], { env: { ADDED: 'yes' } })).stdout) as Record<
      string,
      string
    >;
    assert.equal(seen.VAULT_TOKEN, undefined);
    assert.equal(seen.ADDED, 'yes');
    assert.notEqual(seen.HOME, process.env.HOME);
  });

  test('a program that does not end is an error, not an answer', { skip: skipWithout('ggcr-registry') }, async () => {
    await assert.rejects(run('ggcr-registry', [], { timeoutMs: 200 }), /did not end within 200 ms/);
  });

  test('a service that cannot start says why', { skip: skipWithout('docker-registry', 'ggcr-registry') }, async () => {
    const service = { args: () => ['serve', '/nonexistent.yml'], ready: () => Promise.resolve(false) };
    await assert.rejects(startPeer('docker-registry', service), /ended with status 1[\s\S]*nonexistent\.yml/);
    const never = {
      args: (port: number) => ['-addr', `127.0.0.1:${port}`],
      ready: () => Promise.resolve(false),
      timeoutMs: 300,
    };
    await assert.rejects(startPeer('ggcr-registry', never), /was not ready within 300 ms/);
  });

  for (const ending of ['returns', 'SIGTERM'] as const) {
    test(`a service does not outlive a test that forgets it (${ending})`, {
      skip: skipWithout('ggcr-registry'),
    }, async () => {
      const script = `
        import { startGgcrRegistry } from ${JSON.stringify(new URL('./registries.ts', import.meta.url).href)};
        const { url } = await startGgcrRegistry();
        console.log(url);
        ${ending === 'returns' ? '' : 'setInterval(() => {}, 1000);'}`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(child, 'exit');
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const url = line.toString().trim();
      if (ending === 'SIGTERM') {
        assert.ok(await answers(`${url}/v2/`, 200));
        child.kill('SIGTERM');
      }
      assert.deepEqual(await ended, [ending === 'SIGTERM' ? 143 : 0, null]);
      assert.equal(await answers(`${url}/v2/`, 200), false);
    });
  }
});

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

describe('Vault', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  before(async () => {
    vault = await startVault();
  });
  after(() => vault.stop());

  const message = Buffer.from('a message');
  const sign = async (name: string, parameters: object = {}): Promise<Buffer> => {
    const input = message.toString('base64');
    const answer = await vault.request<{ data: { signature: string } }>('POST', `transit/sign/${name}`, {
      input,
      ...parameters,
    });
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return Buffer.from(answer.body.data.signature.split(':')[2] ?? '', 'base64');
  };

  const types: readonly VaultKeyType[] = [
    'ecdsa-p256',
    'ecdsa-p384',
    'ecdsa-p521',
    'ed25519',
    'rsa-2048',
    'rsa-3072',
    'rsa-4096',
  ];
  for (const type of types) {
    test(`signs with ${type}, and the public key it gives verifies that`, async () => {
      const key = await vault.createKey(`k-${type}`, type);
      const hash = type === 'ed25519' ? null : 'sha256';
      const signature = await sign(`k-${type}`, { hash_algorithm: 'sha2-256', signature_algorithm: 'pkcs1v15' });
      assert.ok(verifySignature(hash, message, key, signature));
      assert.equal(verifySignature(hash, Buffer.from('another message'), key, signature), false);
    });
  }

  test('keeps the versions of a key apart', async () => {
    const first = await vault.createKey('rotated', 'ecdsa-p256');
    assert.equal((await vault.request('POST', 'transit/keys/rotated/rotate')).status, 200);
    const second = await vault.publicKey('rotated');
    assert.notEqual(first, second);
    assert.equal(await vault.publicKey('rotated', 1), first);
    assert.ok(verifySignature('sha256', message, createPublicKey(first), await sign('rotated', { key_version: 1 })));
    assert.ok(verifySignature('sha256', message, createPublicKey(second), await sign('rotated')));
  });

  test('refuses a wrong token, and everything when sealed', async () => {
    const sealed = await startVault();
    const wrong = await fetch(`${sealed.addr}/v1/transit/keys/k`, { headers: { 'X-Vault-Token': 'wrong' } });
    assert.equal(wrong.status, 403);
    assert.equal((await sealed.request('PUT', 'sys/seal')).status, 204);
    assert.equal((await sealed.request('GET', 'transit/keys/k')).status, 503);
    await sealed.stop();
    await assert.rejects(sealed.request('GET', 'sys/health'));
  });

  test('holds the key of a cosign signature', {
    skip: skipWithout('cosign-3.1.1', 'cosign-3.1.3', 'crane', 'ggcr-registry'),
  }, async () => {
    const registry = await startGgcrRegistry();
    try {
      const { ref } = await pushTestImage(registry, 'acme/vault:v1');
      const folder = temporaryFolder('vault-key');
      const keys = await Promise.all(['cosigner', 'stranger'].map((name) => vault.createKey(name, 'ecdsa-p256')));
      const [ours = '', other = ''] = keys.map((pem, at) => {
        writeFileSync(join(folder, `${at}.pub`), pem);
        return join(folder, `${at}.pub`);
      });
      succeeded(await cosignSign({ version: '3.1.3', key: 'hashivault://cosigner', ref, env: vault.env }));
      succeeded(await cosignVerify({ version: '3.1.3', key: 'hashivault://cosigner', ref, env: vault.env }));
      succeeded(await cosignVerify({ key: ours, ref }));
      assert.notEqual((await cosignVerify({ key: other, ref })).code, 0);
    } finally {
      await registry.stop();
    }
  });
});

const curve = (name: string): string[] => ['-algorithm', 'EC', '-pkeyopt', `ec_paramgen_curve:${name}`];
const openedKey = async (folder: string, algorithm: readonly string[]): Promise<KeyPair> =>
  importKeyPair(folder, succeeded(await run('openssl', ['genpkey', ...algorithm])).stdout);

describe('blobs', { skip: skipWithout('cosign-3.1.1', 'openssl', 'sigstore-verify') }, () => {
  for (const { label, algorithm, hash } of [
    { label: 'P-256', algorithm: curve('P-256'), hash: undefined },
    { label: 'P-384', algorithm: curve('P-384'), hash: 'sha384' },
    { label: 'RSA-2048', algorithm: ['-algorithm', 'RSA'], hash: undefined },
  ] as const) {
    test(`cosign signs with ${label}; cosign and sigstore-go verify, and refuse another key and another blob`, async () => {
      const folder = temporaryFolder('blob');
      const ours = await openedKey(join(folder, 'ours'), algorithm);
      const other = await openedKey(join(folder, 'other'), algorithm);
      const [blob, tampered] = [join(folder, 'blob'), join(folder, 'tampered')];
      writeFileSync(blob, 'the blob');
      writeFileSync(tampered, 'the blot');

      for (const legacy of [false, true]) {
        const signature = join(folder, legacy ? 'signature' : 'bundle.json');
        succeeded(await cosignSignBlob({ key: ours.privateKey, blob, output: signature, legacy }));
        const check = ({ publicKey: key }: KeyPair, file: string) =>
          cosignVerifyBlob({ key, blob: file, signature, legacy, hash });
        succeeded(await check(ours, blob));
        assert.notEqual((await check(other, blob)).code, 0, 'a signature of another key was accepted');
        assert.notEqual((await check(ours, tampered)).code, 0, 'a signature over another blob was accepted');
      }

      const bundle = join(folder, 'bundle.json');
      const judge = (key: KeyPair, ...more: string[]) =>
        run('sigstore-verify', ['--bundle', bundle, '--key', key.publicKey, ...more]);
      const digest = (file: string): string =>
        `${hash ?? 'sha256'}:${createHash(hash ?? 'sha256')
          .update(readFileSync(file))
          .digest('hex')}`;
      assert.equal(succeeded(await judge(ours, '--artifact', blob)).stdout, 'verified: message signature\n');
      succeeded(await judge(ours, '--digest', digest(blob)));
      for (const [key, ...more] of [
        [other, '--artifact', blob],
        [ours, '--artifact', tampered],
        [ours, '--digest', digest(tampered)],
        [ours, '--artifact', blob, '--hash', 'sha512'],
      ] as const) {
        const refused = await judge(key, ...more);
        assert.equal(refused.code, 1, `accepted with ${more.join(' ')}`);
        assert.match(refused.stderr, /^refused: /);
      }
      assert.equal((await judge(ours, '--artifact', join(folder, 'absent'))).code, 2);
    });
  }
});

describe('image bundles', {
  skip: skipWithout('cosign-3.1.1', 'crane', 'ggcr-registry', 'openssl', 'sigstore-verify'),
}, () => {
  // cosign signs images with an Ed25519 key as Ed25519ph, which its own verify then refuses: sigstore-go is the judge.
  for (const { label, algorithm, more } of [
    { label: 'P-256', algorithm: curve('P-256'), more: [] },
    { label: 'P-521', algorithm: curve('P-521'), more: [] },
    { label: 'Ed25519', algorithm: ['-algorithm', 'ED25519'], more: ['--ed25519ph'] },
  ]) {
    test(`sigstore-go verifies what cosign signed with ${label}, and refuses another key and another image`, async (t) => {
      const registry = await startGgcrRegistry();
      t.after(() => registry.stop());
      const folder = temporaryFolder('image-bundle');
      const ours = await openedKey(join(folder, 'ours'), algorithm);
      const other = await openedKey(join(folder, 'other'), algorithm);
      const { ref, digest } = await pushTestImage(registry, 'acme/app:v1');
      const bundle = join(folder, 'bundle.json');
      succeeded(await cosignSign({ key: ours.privateKey, ref, flags: ['--bundle', bundle] }));
      const judge = (key: KeyPair, subject: string, flags: readonly string[]) =>
        run('sigstore-verify', ['--bundle', bundle, '--key', key.publicKey, '--digest', subject, ...flags]);
      const accepted = succeeded(await judge(ours, digest, more));
      assert.equal(accepted.stdout, 'verified: attestation of https://sigstore.dev/cosign/sign/v1\n');
      assert.equal((await judge(other, digest, more)).code, 1);
      assert.equal(
        (
          await judge(
            ours,
            digest.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
            more,
          )
        ).code,
        1,
      );
      if (label === 'Ed25519') assert.equal((await judge(ours, digest, [])).code, 1);
    });
  }
});

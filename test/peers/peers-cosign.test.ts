// The harness itself: what cosign makes of each algorithm, and who accepts it.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { cosignSign, cosignSignBlob, cosignVerifyBlob, importKeyPair } from './cosign.ts';
import type { KeyPair } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { startGgcrRegistry } from './registries.ts';

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

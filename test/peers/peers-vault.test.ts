// The harness itself: Vault signs, rotates, is sealed and stops.
import assert from 'node:assert/strict';
import { createPublicKey, verify as verifySignature } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cosignSign, cosignVerify } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { startGgcrRegistry } from './registries.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

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

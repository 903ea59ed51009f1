// What else the transit engine of a real Vault does: batches, facts and states of versions, mounts, its own words for errors.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, type TestContext, test } from 'node:test';
import { algorithms } from '../../src/keys/algorithms.ts';
import { createLeases } from '../../src/keys/leases.ts';
import { type Key, maxBatch } from '../../src/keys/port.ts';
import { openVaultKey } from '../../src/keys/vault.ts';
import type { VaultSession } from '../../src/keys/vault/session.ts';
import { vaultSettings } from '../../src/keys/vault/settings.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { ToSign } from '../../src/model/signature.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { skipWithout } from './peer.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

const message: ToSign = { kind: 'message', message: Buffer.from('to be signed') };

describe('the transit engine of a real Vault', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  before(async () => {
    vault = await startVault();
  });
  after(() => vault?.stop());

  const must = async <Body>(method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await vault.request<Body>(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const opened = async (t: TestContext, more: object): Promise<Key> => {
    const login = { method: 'token', token: vault.token };
    const settings = vaultSettings.parse({ name: 'subject', kind: 'vault', address: vault.addr, login, ...more });
    const deps = { createHttp: createHttpClient, vaultSessions: createLeases<VaultSession>() };
    const key = await openVaultKey(settings, deps, testContext());
    t.after(() => key.close());
    return key;
  };
  const many = (key: Key, toSigns: readonly ToSign[]) =>
    key.signMany?.(toSigns, testContext(60_000)) ?? assert.fail('no batch');
  const states = ({ description }: Key) =>
    [...description.versions, ...description.opaque].map(({ version, state }) => [version, state]);

  for (const name of Object.keys(algorithms) as AlgorithmName[]) {
    test(`a batch of ${name}: in order, and each as verifiable as alone`, async (t) => {
      const row = algorithms[name];
      await vault.createKey(`batch-${name}`, row.vault.type as VaultKeyType);
      const padding = row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {};
      const key = await opened(t, { key: `batch-${name}`, ...padding });
      assert.equal(key.description.signing.algorithm, name);
      await must('POST', `transit/keys/batch-${name}/rotate`, {});
      const count = row.type === 'rsa' ? 10 : maxBatch;
      const toSigns = Array.from(
        { length: count },
        (_, index): ToSign => ({ kind: 'message', message: randomBytes(index * 10) }),
      );
      const outcomes = await many(key, toSigns);
      assert.equal(outcomes.length, count);
      for (const [index, outcome] of outcomes.entries()) {
        assert.ok(outcome instanceof Uint8Array, String(outcome));
        assert.ok(verifySignature(key.description.signing, toSigns[index] ?? assert.fail(), outcome), `${index}`);
      }
      const alone = await key.sign(toSigns[1] ?? assert.fail(), testContext());
      assert.ok(verifySignature(key.description.signing, toSigns[1] ?? assert.fail(), alone));
    });
  }

  test('an Ed25519 batch: a message beyond the limit of the listener fails alone', async (t) => {
    await vault.createKey('large', 'ed25519');
    const key = await opened(t, { key: 'large' });
    const sizes = [10, 768 * 1024 + 1, 700 * 1024, 768 * 1024, 0];
    const toSigns = sizes.map((size): ToSign => ({ kind: 'message', message: randomBytes(size) }));
    const outcomes = await many(key, toSigns);
    const reasons = outcomes.map((outcome, index) =>
      outcome instanceof CountersignError
        ? outcome.reason
        : verifySignature(key.description.signing, toSigns[index] ?? assert.fail(), outcome),
    );
    assert.deepEqual(reasons, [true, 'MESSAGE_TOO_LARGE', true, true, true]);
  });

  test('a batch under a version that may not sign, or a key that is gone, rejects with the reason', async (t) => {
    await vault.createKey('barred', 'ecdsa-p256');
    const key = await opened(t, { key: 'barred' });
    await must('POST', 'transit/keys/barred/rotate', {});
    await must('POST', 'transit/keys/barred/config', { min_encryption_version: 2, deletion_allowed: true });
    assert.equal((await rejection(many(key, [message, message]))).reason, 'KEY_DISABLED');
    await must('DELETE', 'transit/keys/barred');
    assert.equal((await rejection(many(key, [message, message]))).reason, 'KEY_NOT_FOUND');
    assert.equal((await rejection(key.sign(message, testContext()))).reason, 'KEY_NOT_FOUND');
  });

  test('versions: disabled, archived, trimmed; what signs was pinned, and says so when it may not any more', async (t) => {
    await vault.createKey('aged', 'ecdsa-p256');
    for (let round = 0; round < 4; round += 1) await must('POST', 'transit/keys/aged/rotate', {});
    const second = await opened(t, { key: 'aged', version: 2 });
    assert.ok(await second.sign(message, testContext()));
    await must('POST', 'transit/keys/aged/config', { min_decryption_version: 4, min_encryption_version: 5 });
    await must('POST', 'transit/keys/aged/trim', { min_available_version: 3 });
    const key = await opened(t, { key: 'aged' });
    assert.deepEqual(states(key), [
      ['5', 'enabled'],
      ['4', 'disabled'],
      ['3', 'disabled'],
      ['2', 'destroyed'],
      ['1', 'destroyed'],
    ]);
    for (const { createdAt } of key.description.versions) {
      assert.ok(Math.abs(Date.parse(createdAt ?? '') - Date.now()) < 60_000, createdAt);
    }
    const reasonOf = async (version: number) => (await rejection(opened(t, { key: 'aged', version }))).reason;
    assert.equal(await reasonOf(4), 'KEY_DISABLED');
    assert.equal(await reasonOf(3), 'KEY_DISABLED');
    assert.equal(await reasonOf(2), 'KEY_DESTROYED');
    assert.equal(await reasonOf(6), 'KEY_NOT_FOUND');
    assert.equal((await rejection(second.sign(message, testContext()))).reason, 'KEY_DISABLED');
  });

  test('an archived version, without min_encryption_version, does not sign either', async (t) => {
    await vault.createKey('archived', 'ecdsa-p256');
    const first = await opened(t, { key: 'archived' });
    await must('POST', 'transit/keys/archived/rotate', {});
    await must('POST', 'transit/keys/archived/config', { min_decryption_version: 2 });
    assert.equal((await rejection(first.sign(message, testContext()))).reason, 'KEY_DISABLED');
    assert.deepEqual(states(await opened(t, { key: 'archived' })), [
      ['2', 'enabled'],
      ['1', 'disabled'],
    ]);
  });

  test('evidence and origin: made here, exportable, backed up and restored', async (t) => {
    const made = { auto_rotate_period: '720h' };
    await must('POST', 'transit/keys/made', { type: 'ecdsa-p256', ...made });
    const { evidence, origin, protectionLevel } = (await opened(t, { key: 'made' })).description;
    assert.deepEqual(evidence, {
      type: 'ecdsa-p256',
      exportable: 'false',
      allow_plaintext_backup: 'false',
      deletion_allowed: 'false',
      imported_key: 'false',
      auto_rotate_period: '2592000',
      seal: 'shamir',
      version: '1.21.0',
    });
    assert.deepEqual([origin, protectionLevel], ['generated', 'software']);
    await must('POST', 'transit/keys/open', { type: 'ed25519', exportable: true, allow_plaintext_backup: true });
    const backup = await must<{ data: { backup: string } }>('GET', 'transit/backup/open');
    await must('POST', 'transit/restore/restored', { backup: backup.data.backup });
    const restored = (await opened(t, { key: 'restored' })).description.evidence;
    assert.equal(restored['restore_info'], 'present');
    assert.equal(restored['exportable'], 'true');
    assert.equal((await opened(t, { key: 'open' })).description.evidence['backup_info'], 'present');
  });

  test('nested mounts, and one that is not there', async (t) => {
    await must('POST', 'sys/mounts/eu/team-a/transit', { type: 'transit' });
    await must('POST', 'eu/team-a/transit/keys/release', { type: 'ecdsa-p384' });
    const key = await opened(t, { ref: 'openbao://release', mount: 'eu/team-a/transit' });
    const signature = await key.sign(message, testContext());
    assert.ok(verifySignature(key.description.signing, message, signature));
    const absent = await rejection(opened(t, { key: 'release', mount: 'eu/team-b/transit' }));
    assert.equal(absent.reason, 'KEY_NOT_FOUND');
    assert.match(absent.message, /no transit engine/);
  });

  test('a rate limit names its delay, at the opening and in a batch', async (t) => {
    await vault.createKey('limited', 'ecdsa-p256');
    const key = await opened(t, { key: 'limited' });
    await must('POST', 'sys/quotas/rate-limit/limited', { path: 'transit/sign/limited/*', rate: 1, interval: '60s' });
    t.after(() => must('DELETE', 'sys/quotas/rate-limit/limited'));
    assert.equal((await many(key, [message, message, message])).length, 3, 'one request, whatever its size');
    for (const work of [() => key.sign(message, testContext()), () => many(key, [message, message])]) {
      const error = await rejection(work());
      assert.deepEqual([error.code, error.reason], ['resource_exhausted', 'KEY_THROTTLED']);
      assert.ok((error.retryAfterMs ?? 0) > 0 && (error.retryAfterMs ?? 0) <= 60_000);
    }
  });

  test('a token that Vault does not know is told from a policy that lacks a path', async (t) => {
    await vault.createKey('denied', 'ecdsa-p256');
    const unknown = await rejection(opened(t, { key: 'denied', login: { method: 'token', token: 'not-a-token' } }));
    assert.equal(unknown.reason, 'KEY_ACCESS_DENIED');
    assert.match(unknown.message, /does not know the service's token/);
    const { auth } = await must<{ auth: { client_token: string } }>('POST', 'auth/token/create', {
      policies: ['default'],
    });
    const login = { method: 'token', token: auth.client_token };
    const lacking = await rejection(opened(t, { key: 'denied', login }));
    assert.equal(lacking.reason, 'KEY_ACCESS_DENIED');
    assert.match(lacking.message, /policy needs/);
  });
});

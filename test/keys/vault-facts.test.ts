// What Vault says of a key besides its public keys.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { publicKeyPem as publicPem } from '../../src/keys/public-key.ts';
import { message, openedKey, reset, settings, started } from './vault-world.ts';

const sealing = /^GET sys\/seal-status/;

test('evidence and origin are the fields of the key and the kind of the seal; the level stays software', async (t) => {
  const vault = await started(t);
  const facts = async (fields: object) => {
    vault.describe('release', fields);
    const { evidence, origin, protectionLevel } = (await openedKey(t, vault)).description;
    return { evidence, origin, protectionLevel };
  };
  assert.deepEqual(await facts({}), {
    evidence: { type: 'ecdsa-p256', seal: 'awskms' },
    origin: 'unknown',
    protectionLevel: 'software',
  });
  const made = {
    exportable: false,
    allow_plaintext_backup: false,
    deletion_allowed: false,
    imported_key: false,
    auto_rotate_period: 2592000,
  };
  const shown = {
    type: 'ecdsa-p256',
    exportable: 'false',
    allow_plaintext_backup: 'false',
    deletion_allowed: 'false',
    imported_key: 'false',
    auto_rotate_period: '2592000',
    seal: 'awskms',
  };
  assert.deepEqual(await facts(made), { evidence: shown, origin: 'generated', protectionLevel: 'software' });
  const leaked = { ...made, exportable: true, imported_key: true, backup_info: { version: 1 } };
  assert.deepEqual(await facts(leaked), {
    evidence: { ...shown, exportable: 'true', imported_key: 'true', backup_info: 'present' },
    origin: 'imported',
    protectionLevel: 'software',
  });
  const ring = openKeyring([settings(vault, { requireProtection: 'hsm' })]);
  t.after(() => ring.close());
  assert.equal((await rejection(ring.sign('subject', message, testContext()))).reason, 'PROTECTION_LEVEL');
});

test('the seal is asked for once a session, outside of the namespace, without a token', async (t) => {
  const vault = await started(t);
  const names = Array.from({ length: 20 }, (_, index) => `key-${index}`);
  const ring = openKeyring(names.map((name) => settings(vault, { name, namespace: 'team/a' })));
  t.after(() => ring.close());
  assert.deepEqual(await ring.warm(testContext()), []);
  for (const name of names) assert.equal((await ring.describe(name, testContext())).evidence['seal'], 'awskms');
  assert.equal(vault.count(sealing), 1);
  const asked = vault.calls.find(({ path }) => path === 'sys/seal-status');
  assert.deepEqual([asked?.token, asked?.namespace], [undefined, undefined]);
});

test('without an answer about the seal the key opens all the same', async (t) => {
  for (const fault of [
    reset,
    { status: 404, body: { errors: [] } },
    { status: 200, body: 'no json' },
    { status: 200, body: { type: 'a\nb' } },
    () => 'handled' as const,
  ]) {
    const vault = await started(t);
    vault.fail(sealing, fault);
    const key = await openedKey(t, vault);
    assert.equal(key.description.evidence['seal'], undefined);
    assert.ok(await key.sign(message, testContext()));
    assert.equal(vault.count(sealing), 1);
  }
});

test('versions that Vault lists no more: trimmed ones are destroyed, archived ones disabled', async (t) => {
  const vault = await started(t);
  for (let round = 0; round < 4; round += 1) vault.rotate('release');
  const { signing } = (await openedKey(t, vault)).description;
  const entry = (version: number) => ({ [version]: { public_key: publicPem(signing.spki), creation_time: 'soon' } });
  vault.describe('release', {
    latest_version: 5,
    min_available_version: 3,
    min_encryption_version: 5,
    keys: { ...entry(4), ...entry(5) },
  });
  const { description } = await openedKey(t, vault);
  assert.deepEqual(
    description.versions.map(({ version, state, createdAt }) => [version, state, createdAt]),
    [
      ['5', 'enabled', undefined],
      ['4', 'disabled', undefined],
    ],
  );
  assert.deepEqual(
    description.opaque.map(({ version, state }) => [version, state]),
    [
      ['3', 'disabled'],
      ['2', 'destroyed'],
      ['1', 'destroyed'],
    ],
  );
  for (const [version, reason, words] of [
    [4, 'KEY_DISABLED', /min_encryption_version/],
    [3, 'KEY_DISABLED', /archived: lower min_decryption_version/],
    [2, 'KEY_DESTROYED', /trimmed/],
    [6, 'KEY_NOT_FOUND', /There is no version 6/],
  ] as const) {
    const error = await rejection(openedKey(t, vault, { version }));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', reason]);
    assert.match(error.message, words);
  }
});

test('a version count beyond all bounds is not believed', async (t) => {
  const vault = await started(t);
  vault.describe('release', { latest_version: 2 ** 40 });
  assert.equal((await openedKey(t, vault)).description.opaque.length, 100);
});

test('an open key never changes; opened anew it shows the rotation', async (t) => {
  const vault = await started(t);
  const key = await openedKey(t, vault);
  vault.rotate('release');
  const { description } = key;
  assert.equal(description.versions.length, 1);
  assert.equal(key.description, description);
  const again = await openedKey(t, vault);
  assert.equal(again.description.signing.version, '2');
  assert.equal(again.description.versions.length, 2);
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { startFakeVault } from './fake-vault.ts';
import { selfSigned } from '../certificates.ts';
import { approle, login, message, opened, reading, settings, signing, started } from './vault-world.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-vault-'));
after(() => rmSync(folder, { recursive: true }));

for (const [curve, algorithm] of [
  ['P-256', 'ecdsa-p256-sha256'],
  ['P-384', 'ecdsa-p384-sha384'],
  ['P-521', 'ecdsa-p521-sha512'],
] as const) {
  const vault = await startFakeVault();
  vault.createKey('release', curve);
  after(() => vault.close());
  keyContract({
    label: `fake Vault, ${algorithm}`,
    backend: 'vault',
    algorithm,
    open: async () => openKeyring([settings(vault)]),
  });
}

test('one request a signature, on one connection, whatever the size of the message', async (t) => {
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  const before = vault.calls.length;
  for (let round = 0; round < 10; round += 1) await ring.sign('subject', message, testContext());
  await ring.sign('subject', { kind: 'message', message: Buffer.alloc(4 * 1024 * 1024) }, testContext());
  assert.equal(vault.calls.length - before, 11);
  assert.ok(vault.calls.slice(before).every(({ body }) => String(body['input']).length === 44));
  assert.deepEqual([vault.count(login), vault.count(reading)], [1, 1]);
});

test('many first requests log in and read the key once', async (t) => {
  const { vault, ring } = await opened(t);
  await Promise.all(Array.from({ length: 20 }, () => ring.sign('subject', message, testContext())));
  assert.deepEqual([vault.count(login), vault.count(reading), vault.count(signing)], [1, 1, 20]);
});

test('keys of one Vault and login share the session; another login has its own', async (t) => {
  const vault = await started(t);
  const other = { ...approle, secretId: 'another-secret' };
  const ring = openKeyring([
    settings(vault, { name: 'one' }),
    settings(vault, { name: 'two', key: undefined, ref: 'hashivault://release' }),
    settings(vault, { name: 'three', login: other }),
  ]);
  t.after(() => ring.close());
  for (const name of ring.names()) await ring.sign(name, message, testContext());
  assert.equal(vault.count(login), 2);
});

test('the request says everything that Vault would guess', async (t) => {
  const { vault, ring } = await opened(t, { namespace: 'team/a' });
  await ring.sign('subject', message, testContext());
  const call = vault.calls.findLast(({ path }) => path.startsWith('transit/sign/'));
  assert.equal(call?.path, 'transit/sign/release/sha2-256');
  assert.equal(call?.namespace, 'team/a');
  assert.deepEqual(
    { ...call.body, input: '' },
    { input: '', key_version: 1, prehashed: true, marshaling_algorithm: 'asn1' },
  );
});

test('versions: the newest signs, all are listed, a rotation changes nothing until the key is opened anew', async (t) => {
  const { vault, ring } = await opened(t);
  vault.rotate('release');
  const description = await ring.describe('subject', testContext());
  assert.equal(description.signing.version, '2');
  assert.deepEqual(
    description.versions.map(({ version, state, createdAt }) => [version, state, createdAt]),
    [
      ['2', 'enabled', '2026-11-20T10:00:00.123Z'],
      ['1', 'enabled', '2026-11-20T10:00:00.123Z'],
    ],
  );
  vault.rotate('release');
  assert.equal((await ring.sign('subject', message, testContext())).version.version, '2');
});

test('a pinned version signs; a disabled or absent one is refused at open', async (t) => {
  const vault = await started(t);
  for (let round = 0; round < 2; round += 1) vault.rotate('release');
  vault.setMinimum('release', 2);
  const ring = openKeyring([1, 2, 9].map((version) => settings(vault, { name: `v${version}`, version })));
  t.after(() => ring.close());
  const { version } = await ring.sign('v2', message, testContext());
  assert.equal(version.version, '2');
  const disabled = await rejection(ring.sign('v1', message, testContext()));
  assert.deepEqual([disabled.code, disabled.reason], ['failed_precondition', 'KEY_DISABLED']);
  const absent = await rejection(ring.sign('v9', message, testContext()));
  assert.deepEqual([absent.code, absent.reason], ['failed_precondition', 'KEY_NOT_FOUND']);
  const { versions } = await ring.describe('v2', testContext());
  assert.deepEqual(
    versions.map(({ state }) => state),
    ['enabled', 'enabled', 'disabled'],
  );
});

test('a version that is disabled while open: one typed failure, then the newest one signs', async (t) => {
  const { vault, ring } = await opened(t);
  assert.equal((await ring.sign('subject', message, testContext())).version.version, '1');
  vault.rotate('release');
  vault.setMinimum('release', 2);
  const error = await rejection(ring.sign('subject', message, testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_DISABLED']);
  assert.equal((await ring.sign('subject', message, testContext())).version.version, '2');
});

test('the environment of the vault CLI changes nothing', async (t) => {
  const names = ['VAULT_ADDR', 'VAULT_TOKEN', 'VAULT_NAMESPACE', 'VAULT_PREFIX', 'VAULT_SKIP_VERIFY'] as const;
  for (const name of names) process.env[name] = name === 'VAULT_PREFIX' ? '/prefix' : 'from-environment';
  t.after(() => {
    for (const name of names) delete process.env[name];
  });
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  assert.ok(vault.calls.every(({ token, path }) => token !== 'from-environment' && !path.includes('prefix')));
});

test('TLS: an unknown certificate is refused, VAULT_SKIP_VERIFY or not; caFile makes it known', async (t) => {
  const tls = selfSigned();
  const vault = await startFakeVault(tls);
  t.after(() => vault.close());
  vault.createKey('release');
  const caFile = join(folder, 'ca.pem');
  writeFileSync(caFile, tls.cert);
  process.env['VAULT_SKIP_VERIFY'] = '1';
  t.after(() => {
    delete process.env['VAULT_SKIP_VERIFY'];
  });
  const ring = openKeyring([
    settings(vault, { name: 'unknown' }),
    settings(vault, { name: 'known', caFile }),
    settings(vault, { name: 'absent', caFile: join(folder, 'absent-ca.pem') }),
  ]);
  t.after(() => ring.close());
  const error = await rejection(ring.sign('unknown', message, testContext()));
  assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(error.message, /TLS.*certificate/);
  assert.equal(vault.calls.length, 0, 'no token or secret was sent');
  assert.ok(await ring.sign('known', message, testContext()));
  assert.equal((await rejection(ring.sign('absent', message, testContext()))).reason, 'KEY_FILE_UNREADABLE');
});

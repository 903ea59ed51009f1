// A keyring over one key in the fake Vault, and what its tests share.
import type { TestContext } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import type { Key } from '../../src/keys/port.ts';
import { keySettings, type KeySettings } from '../../src/keys/settings.ts';
import { openVaultKey } from '../../src/keys/vault.ts';
import type { VaultSession } from '../../src/keys/vault/session.ts';
import { vaultSettings } from '../../src/keys/vault/settings.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { type FakeVault, type Fault, startFakeVault } from './fake-vault.ts';

export const signing = /^POST transit\/sign\//;
export const reading = /^GET transit\/keys\//;
export const login = /^POST auth\/approle\/login/;
export const renewing = /^POST auth\/token\/renew-self/;
export const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

export const approle = { method: 'approle', roleId: 'a-role', secretId: 'a-secret' };
export const settings = (vault: FakeVault, more: object = {}): KeySettings =>
  keySettings.parse({
    name: 'subject',
    kind: 'vault',
    address: vault.address,
    key: 'release',
    login: approle,
    ...more,
  });

export const started = async (t: TestContext): Promise<FakeVault> => {
  const vault = await startFakeVault();
  t.after(() => vault.close());
  vault.createKey('release');
  return vault;
};
export const opened = async (t: TestContext, more: object = {}): Promise<{ vault: FakeVault; ring: Keyring }> => {
  const vault = await started(t);
  const ring = openKeyring([settings(vault, more)]);
  t.after(() => ring.close());
  return { vault, ring };
};
/** The key itself, without the keyring's retries, quota and verification. */
export const openedKey = async (t: TestContext, vault: FakeVault, more: object = {}): Promise<Key> => {
  const deps = { createHttp: createHttpClient, vaultSessions: createLeases<VaultSession>() };
  const key = await openVaultKey(vaultSettings.parse(settings(vault, more)), deps, testContext());
  t.after(() => key.close());
  return key;
};
export const reset: Fault = (_, response) => {
  response.destroy();
  return 'handled';
};
/** Opens the key, lets signing fail, and answers with the error of the one attempt that a key makes. */
export const failing = async (t: TestContext, fault: Parameters<FakeVault['fail']>[1]) => {
  const vault = await started(t);
  const key = await openedKey(t, vault);
  await key.sign(message, testContext());
  vault.fail(signing, fault);
  const before = vault.count(signing);
  const error = await rejection(key.sign(message, testContext()));
  return { error, calls: vault.count(signing) - before, vault, key };
};

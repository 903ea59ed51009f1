// A keyring over one key in the fake Vault, and what its tests share.
import type { TestContext } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { keySettings, type KeySettings } from '../../src/keys/settings.ts';
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
export const reset: Fault = (_, response) => {
  response.destroy();
  return 'handled';
};
/** Opens the key, lets signing fail, and answers with the error. */
export const failing = async (t: TestContext, fault: Parameters<FakeVault['fail']>[1]) => {
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  vault.fail(signing, fault);
  const before = vault.count(signing);
  const error = await rejection(ring.sign('subject', message, testContext()));
  return { error, calls: vault.count(signing) - before, vault, ring };
};

// The faults of test/peers/faults-vault.test.ts, before a Vault of ours.
import { after } from 'node:test';
import { createPublicKey } from 'node:crypto';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { vaultFaults, vaultProxy, vaultSettings } from '../contract/keys/fault-vault.ts';
import { startFakeVault } from './fake-vault.ts';

const vault = await startFakeVault();
after(() => vault.close());
const publicKey = createPublicKey(vault.createKey('release')).export({ type: 'spki', format: 'pem' }).toString();
const backend = {
  address: vault.address,
  token: 'hvs.CAESITheTokenOfATestWithTheShapeOfRealOnes',
  ownToken: vault.issueToken(),
  key: 'release',
  publicKey,
};

keyContract({
  label: 'fake Vault through the proxy',
  backend: 'vault',
  algorithm: 'ecdsa-p256-sha256',
  open: async () => {
    const proxy = await vaultProxy(backend);
    const ring = openKeyring([vaultSettings(proxy.origin, backend)]);
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
    };
    return { ...ring, close };
  },
});

vaultFaults('fake Vault', () => backend);

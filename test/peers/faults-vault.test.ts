// Every fault before a real Vault.
import { after, before } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { type VaultBackend, vaultFaults, vaultProxy, vaultSettings } from '../contract/keys/fault-vault.ts';
import { skipWithout } from './peer.ts';
import { startVault, type Vault } from './vault.ts';

const skip = skipWithout('vault');
let vault: Vault | undefined;
let backend: VaultBackend;
before(async () => {
  if (skip !== false) return;
  vault = await startVault();
  const publicKey = await vault.createKey('release', 'ecdsa-p256');
  // Not the root token of the development mode: that has not the shape by which the log knows tokens.
  const made = await vault.request<{ auth: { client_token: string } }>('POST', 'auth/token/create', {});
  backend = { address: vault.addr, token: made.body.auth.client_token, key: 'release', publicKey };
});
after(() => vault?.stop());

keyContract({
  label: 'Vault through the proxy',
  backend: 'vault',
  algorithm: 'ecdsa-p256-sha256',
  skip,
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

vaultFaults('Vault', () => backend, skip);

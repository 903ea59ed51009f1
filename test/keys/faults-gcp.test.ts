// Every fault before a Google Cloud KMS of ours.
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { gcpFaults, startGcpProxy } from '../contract/keys/fault-gcp.ts';
import { startFakeGcp } from './fake-gcp.ts';
import { gcpKey } from './gcp-world.ts';

keyContract({
  label: 'fake Google KMS through the proxy',
  backend: 'gcp',
  algorithm: 'ecdsa-p256-sha256',
  open: async () => {
    const kms = await startFakeGcp();
    const { name } = kms.createKey();
    const proxy = await startGcpProxy(kms);
    const ring = openKeyring([gcpKey(proxy.endpoint, name)]);
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
      await kms.close();
    };
    return { ...ring, close };
  },
});

gcpFaults('fake Google KMS', {
  startKms: () => startFakeGcp(),
  openRing: (endpoint, key) => openKeyring([gcpKey(endpoint, key)]),
});

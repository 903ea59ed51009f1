// Every fault before the process of a real PKCS#11 module, SoftHSM.
import { keyContract } from '../contract/keys/contract.ts';
import { type Pkcs11Backend, pkcs11Faults, pkcs11Ring } from '../contract/keys/fault-pkcs11.ts';
import { startPkcs11Proxy } from '../contract/keys/fault-pkcs11-proxy.ts';
import { library, pin, skipSofthsm, startSofthsm } from './softhsm.ts';

const skip = skipSofthsm();

/** Each has tokens of its own: SoftHSM lists all tokens of a folder by reading them, and others may be writing there. */
const makeBackend = async (): Promise<Pkcs11Backend> => {
  const { folder, env, initToken, createKey } = startSofthsm();
  await initToken('faults');
  createKey('faults', 'release', 'P-256');
  return { module: library(), token: 'faults', pin, label: 'release', folder, env };
};

keyContract({
  label: 'SoftHSM through the proxy',
  backend: 'pkcs11',
  algorithm: 'ecdsa-p256-sha256',
  skip,
  open: async () => {
    const backend = await makeBackend();
    const proxy = await startPkcs11Proxy(backend.folder, backend.env);
    const ring = pkcs11Ring(backend, proxy);
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
    };
    return { ...ring, close };
  },
});

pkcs11Faults('SoftHSM', makeBackend, skip);

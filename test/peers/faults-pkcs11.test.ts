// Every fault before the process of a real PKCS#11 module, SoftHSM.
import { before } from 'node:test';
import { keyContract } from '../contract/keys/contract.ts';
import { type Pkcs11Backend, pkcs11Faults, pkcs11Ring } from '../contract/keys/fault-pkcs11.ts';
import { startPkcs11Proxy } from '../contract/keys/fault-pkcs11-proxy.ts';
import { library, pin, type Softhsm, skipSofthsm, startSofthsm } from './softhsm.ts';

const skip = skipSofthsm();
let hsm: Softhsm;
let tokens = 0;
before(() => {
  if (skip === false) hsm = startSofthsm();
});

/** One after the other: two that are made at once may get the same slot. */
let making: Promise<unknown> = Promise.resolve();
const makeBackend = (): Promise<Pkcs11Backend> => {
  const made = making.then(makeToken);
  making = made.catch(() => undefined);
  return made;
};
const makeToken = async (): Promise<Pkcs11Backend> => {
  tokens += 1;
  const token = `faults-${tokens}`;
  await hsm.initToken(token);
  hsm.createKey(token, 'release', 'P-256');
  return { module: library(), token, pin, label: 'release', folder: hsm.folder };
};

keyContract({
  label: 'SoftHSM through the proxy',
  backend: 'pkcs11',
  algorithm: 'ecdsa-p256-sha256',
  skip,
  open: async () => {
    const backend = await makeBackend();
    const proxy = await startPkcs11Proxy(backend.folder);
    const ring = pkcs11Ring(backend, proxy);
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
    };
    return { ...ring, close };
  },
});

pkcs11Faults('SoftHSM', makeBackend, skip);

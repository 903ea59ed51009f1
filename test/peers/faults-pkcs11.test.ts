// Every fault before the process of a real PKCS#11 module, SoftHSM.
import { before } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
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
  const made = making.then(() => makeToken());
  making = made.catch(() => undefined);
  return made;
};
/** SoftHSM lists tokens by reading folders that other processes write to at the same time: one that cannot be read is made anew. */
const makeToken = async (triesLeft = 4): Promise<Pkcs11Backend> => {
  try {
    return await makeTokenOnce();
  } catch (caught) {
    if (triesLeft === 0) throw caught;
    await delay(200);
    return makeToken(triesLeft - 1);
  }
};
const makeTokenOnce = async (): Promise<Pkcs11Backend> => {
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

import { constants, createHash, verify } from 'node:crypto';
import { createRequire } from 'node:module';
import type PKCS11 from 'pkcs11js';
import { openKeyring } from '../../src/keys/keyring.ts';
import { ckf, ckm, cko, cka } from '../../src/keys/pkcs11/constants.ts';
import { publicKeyPem } from '../../src/keys/public-key.ts';
import { digestInfo } from '../../src/keys/rsa-encoding.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { openContext } from '../../src/model/context.ts';
import { absentPeers, type PeerName } from '../peers/peer.ts';
import { library, pin, startSofthsm } from '../peers/softhsm.ts';
import type { DirectKey } from './direct-vault.ts';

const needed: readonly PeerName[] = ['softhsm2-util', 'pkcs11js'];

/** Why a token cannot be measured here; undefined when it can. */
export const pkcs11Missing = (): string | undefined => {
  const absent = absentPeers().filter(({ name }) => needed.includes(name as PeerName));
  return absent.length === 0 ? undefined : `absent: ${absent.map(({ name }) => name).join(', ')}`;
};

/** SoftHSM through pkcs11js in this very process, one session, each call in place: nothing is faster. */
export const directPkcs11 = async (spec: 'P-256' | 'RSA-4096'): Promise<DirectKey> => {
  const hsm = startSofthsm();
  await hsm.initToken('bench');
  hsm.createKey('bench', 'direct', spec);
  const settings = { kind: 'pkcs11', module: library(), token: 'bench', label: 'direct', pin };
  const publicKey = await publicKeyOf(settings);

  const { PKCS11: Module } = createRequire(import.meta.url)('pkcs11js') as typeof PKCS11;
  const module = new Module();
  module.load(library());
  module.C_Initialize();
  const slot = module.C_GetSlotList(true).find((each) => module.C_GetTokenInfo(each).label.startsWith('bench'));
  if (slot === undefined) throw new Error('the token of the bench is not there');
  const session = module.C_OpenSession(slot, ckf.serialSession);
  module.C_Login(session, 1, pin);
  module.C_FindObjectsInit(session, [
    { type: cka.class, value: cko.privateKey },
    { type: cka.label, value: 'direct' },
  ]);
  const [key] = module.C_FindObjects(session, 1);
  module.C_FindObjectsFinal(session);
  if (key === undefined) throw new Error('the key of the bench is not there');

  return {
    settings,
    what: 'pkcs11js, one session in this process, verified',
    sign: async (message) => {
      const digest = createHash('sha256').update(message).digest();
      const rsa = spec === 'RSA-4096';
      module.C_SignInit(session, { mechanism: rsa ? ckm.rsaPkcs : ckm.ecdsa }, key);
      const raw = module.C_Sign(session, rsa ? digestInfo(digest) : digest, Buffer.alloc(rsa ? 512 : 64));
      const how = rsa ? { padding: constants.RSA_PKCS1_PADDING } : { dsaEncoding: 'ieee-p1363' as const };
      if (!verify('sha256', message, { key: publicKey, ...how }, raw)) throw new Error('bad signature');
      // A lane gives the others their turn, as one that waits for a device does.
      await undefined;
    },
    close: async () => {
      module.C_Finalize();
      module.close();
    },
  };
};

const publicKeyOf = async (settings: object): Promise<string> => {
  const ring = openKeyring([keySettings.parse({ name: 'bench', ...settings })]);
  const owned = openContext('bench', 10_000);
  const { signing } = await ring.describe('bench', owned.context);
  owned.dispose();
  await ring.close();
  return publicKeyPem(signing.spki);
};

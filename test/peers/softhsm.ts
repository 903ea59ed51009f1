// SoftHSM 2: a PKCS#11 module whose tokens are folders. Each test has its own tokens; the module reads them by SOFTHSM2_CONF.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type PKCS11 from 'pkcs11js';
import { cka, ckf, cko } from '../../src/keys/pkcs11/constants.ts';
import { run, skipWithout, succeeded, temporaryFolder } from './peer.ts';

export const pin = 'user-pin-of-a-test';
export const soPin = 'so-pin-of-a-test';

/** Where distributions put the library. */
const libraries = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
];
export const library = (): string => libraries.find(existsSync) ?? '/usr/lib/softhsm/libsofthsm2.so';

/** For `skip` of node:test, as skipWithout: SoftHSM and the native part of pkcs11js. */
export const skipSofthsm = (): string | false => skipWithout('softhsm2-util', 'pkcs11js');

export type KeySpec = 'P-256' | 'P-384' | 'P-521' | 'secp256k1' | 'RSA-2048' | 'RSA-3072' | 'RSA-4096' | 'Ed25519';

const curves: Readonly<Record<string, string>> = {
  'P-256': '06082a8648ce3d030107',
  'P-384': '06052b81040022',
  'P-521': '06052b81040023',
  secp256k1: '06052b8104000a',
  Ed25519: '130c656477617264733235353139',
};

export type MadeKey = { readonly label: string; readonly id: string };

export type KeyOptions = {
  /** hex */
  readonly id?: string;
  /** Instead of the attributes of a key that never leaves. */
  readonly extractable?: boolean;
  readonly sign?: boolean;
  /** YYYYMMDD */
  readonly startDate?: string;
  readonly endDate?: string;
  readonly withoutPublicKey?: boolean;
};

export type Softhsm = {
  readonly folder: string;
  /** What the module needs of the environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Makes a token, or makes it anew with nothing in it; answers with its serial number. */
  initToken(label: string): Promise<string>;
  deleteToken(label: string): Promise<void>;
  createKey(token: string, label: string, spec: KeySpec, options?: KeyOptions): MadeKey;
  deleteKey(token: string, label: string): void;
};

const require = createRequire(import.meta.url);

/**
 * Tokens of one's own. `process.env.SOFTHSM2_CONF` says so to this process and those it starts, until the next call: who
 * has several hands `env` to each process.
 */
export const startSofthsm = (): Softhsm => {
  const folder = temporaryFolder('softhsm');
  const tokens = join(folder, 'tokens');
  mkdirSync(tokens);
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { SOFTHSM2_CONF: configuration };
  Object.assign(process.env, env);
  const util = async (...args: string[]): Promise<string> => {
    for (let attempt = 1; ; attempt += 1) {
      const finished = await run('softhsm2-util', args, { env });
      // It reads the folders of all tokens, and another process may be writing one of them.
      const halfWritten = finished.code !== 0 && `${finished.stdout}${finished.stderr}`.includes('Could not get info');
      if (!halfWritten || attempt === 5) return succeeded(finished).stdout;
      await delay(200);
    }
  };

  let count = 0;
  /** In a session of the security-relevant kind, in this process; the module is left as it was found. */
  const inSession = <T>(token: string, work: (module: PKCS11.PKCS11, session: Buffer) => T): T => {
    const { PKCS11: Module } = require('pkcs11js') as typeof PKCS11;
    const module = new Module();
    module.load(library());
    Object.assign(process.env, env);
    module.C_Initialize();
    try {
      const slot = module
        .C_GetSlotList(true)
        .find((each) => module.C_GetTokenInfo(each).label.replace(/[\s\0]+$/, '') === token);
      if (slot === undefined) throw new Error(`there is no token ${token}`);
      const session = module.C_OpenSession(slot, ckf.serialSession | 2);
      module.C_Login(session, 1, pin);
      return work(module, session);
    } finally {
      module.C_Finalize();
      module.close();
    }
  };

  return {
    folder,
    env,
    initToken: async (label) => {
      await util('--init-token', '--free', '--label', label, '--pin', pin, '--so-pin', soPin);
      const slots = await util('--show-slots');
      const at = slots.split(/^Slot /m).find((slot) => new RegExp(`Label: +${label} *$`, 'm').test(slot));
      return /Serial number: +(\w+)/.exec(at ?? '')?.[1] ?? '';
    },
    deleteToken: async (label) => {
      await util('--delete-token', '--token', label);
    },
    createKey: (token, label, spec, options = {}) => {
      count += 1;
      const id = options.id ?? `0a${count.toString(16).padStart(2, '0')}`;
      inSession(token, (module, session) => {
        const rsa = spec.startsWith('RSA-');
        const named = [
          { type: cka.token, value: true },
          { type: cka.label, value: label },
          { type: cka.id, value: Buffer.from(id, 'hex') },
        ];
        const publicParts = rsa
          ? [
              { type: 0x121, value: Number(spec.slice(4)) },
              { type: cka.publicExponent, value: Buffer.of(1, 0, 1) },
            ]
          : [{ type: cka.ecParams, value: Buffer.from(curves[spec] ?? '', 'hex') }];
        const extractable = options.extractable ?? false;
        const dates = [
          ...(options.startDate === undefined ? [] : [{ type: cka.startDate, value: Buffer.from(options.startDate) }]),
          ...(options.endDate === undefined ? [] : [{ type: cka.endDate, value: Buffer.from(options.endDate) }]),
        ];
        const mechanism = rsa ? 0x0 : spec === 'Ed25519' ? 0x1055 : 0x1040;
        const { publicKey } = module.C_GenerateKeyPair(
          session,
          { mechanism },
          [...named, { type: 0x10a, value: true }, ...publicParts, ...dates],
          [
            ...named,
            { type: 0x2, value: true },
            { type: cka.sensitive, value: !extractable },
            { type: cka.extractable, value: extractable },
            { type: cka.sign, value: options.sign ?? true },
            ...dates,
          ],
        );
        if (options.withoutPublicKey === true) module.C_DestroyObject(session, publicKey);
      });
      return { label, id };
    },
    deleteKey: (token, label) => {
      inSession(token, (module, session) => {
        for (const objectClass of [cko.privateKey, cko.publicKey]) {
          module.C_FindObjectsInit(session, [
            { type: cka.class, value: objectClass },
            { type: cka.label, value: label },
          ]);
          const found = module.C_FindObjects(session, 8);
          module.C_FindObjectsFinal(session);
          for (const object of found) module.C_DestroyObject(session, object);
        }
      });
    },
  };
};

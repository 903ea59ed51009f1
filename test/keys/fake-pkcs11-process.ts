// A PKCS#11 module without a token: P-256 keys of node:crypto, in the process that a real module would be in. The module's
// path names a file that says what the token holds; what each function shall do wrong stands in `<path>.faults`.
import { createPrivateKey, sign } from 'node:crypto';
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { cka, ckm, cko } from '../../src/keys/pkcs11/constants.ts';
import type { Attribute, Handle, Pkcs11Module } from '../../src/keys/pkcs11/module.ts';
import { servePkcs11 } from '../../src/keys/pkcs11/process.ts';
import { ModuleProblem } from '../../src/keys/pkcs11/token.ts';
import type { FakeToken } from './fake-pkcs11.ts';

const handle = (number: number): Handle => {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(number);
  return bytes;
};
const numberIn = (bytes: Handle): number => bytes.readUInt32LE();

const ckrError = (method: string, code: number): Error =>
  Object.assign(new Error(`CKR_${code}`), { name: 'Pkcs11Error', code, method });

const pause = (ms: number): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

const fakeModule = (path: string): Pkcs11Module => {
  const token = JSON.parse(readFileSync(path, 'utf8')) as FakeToken;
  let open = 0;
  let sessions = 0;
  let found: Handle[] = [];
  const inUse = new Map<number, Handle>();

  /** Notes the call, and does what it shall do wrong. */
  const call = (name: string, detail = ''): void => {
    appendFileSync(`${path}.log`, `${process.pid} ${name} ${detail}\n`);
    const faults = existsSync(`${path}.faults`) ? readFileSync(`${path}.faults`, 'utf8') : '{}';
    const fault = (JSON.parse(faults) as Record<string, number | string>)[name];
    if (typeof fault === 'number') throw ckrError(name, fault);
    if (fault === 'exit') process.exit(3);
    if (fault === 'hang') pause(600_000);
    if (fault === 'slow') pause(2);
  };
  const finish = (session: Handle, data: Buffer): Buffer => {
    const key = inUse.get(numberIn(session));
    inUse.delete(numberIn(session));
    const pem = token.keys[numberIn(key ?? handle(0)) >> 1]?.privateKey ?? '';
    // node:crypto does not sign digests with ECDSA, so this fake takes the digest for the message: tests do not verify.
    return sign(null, data, { key: createPrivateKey(pem), dsaEncoding: 'ieee-p1363' });
  };
  const attribute = (object: Handle, type: number): Buffer => {
    const number = numberIn(object);
    const key = token.keys[number >> 1];
    if (key === undefined) throw ckrError('C_GetAttributeValue', 0x82);
    const values: Record<number, string | undefined> = {
      [cka.class]: handle(number % 2 === 0 ? cko.privateKey : cko.publicKey).toString('hex'),
      [cka.label]: Buffer.from(key.label).toString('hex'),
      [cka.id]: key.id,
      [cka.keyType]: handle(3).toString('hex'),
      [cka.ecParams]: '06082a8648ce3d030107',
      [cka.ecPoint]: number % 2 === 0 ? undefined : `0441${key.point}`,
      [cka.sign]: '01',
    };
    const value = values[type];
    if (value === undefined) throw ckrError('C_GetAttributeValue', 0x12);
    return Buffer.from(value, 'hex');
  };
  const equal = (object: Handle, { type, value }: Attribute): boolean => {
    const wanted = typeof value === 'number' ? handle(value) : (value as Buffer);
    return attribute(object, type).equals(wanted);
  };

  return {
    C_Initialize: () => call('C_Initialize'),
    C_Finalize: () => call('C_Finalize'),
    C_GetInfo: () => ({ manufacturerID: 'fake', libraryDescription: 'fake', libraryVersion: { major: 1, minor: 2 } }),
    C_GetSlotList: () => {
      call('C_GetSlotList');
      return token.labels.map((_, index) => handle(index + 7));
    },
    C_GetSlotInfo: () => ({ flags: token.slotFlags ?? 1 }),
    C_GetTokenInfo: (slot) => ({
      label: (token.labels[numberIn(slot) - 7] ?? '').padEnd(32),
      serialNumber: `00${numberIn(slot)}`.padEnd(16),
      manufacturerID: (token.manufacturer ?? 'fake').padEnd(32),
      model: 'fake'.padEnd(16),
      flags: token.flags ?? 0x40d,
      maxSessionCount: token.maxSessions ?? 0,
      firmwareVersion: { major: 3, minor: 4 },
    }),
    C_GetMechanismInfo: (_, mechanism) => {
      if (mechanism !== ckm.ecdsa || token.withoutMechanism === true) throw ckrError('C_GetMechanismInfo', 0x70);
      return { flags: 0x800 };
    },
    C_OpenSession: () => {
      call('C_OpenSession');
      if (token.roomFor !== undefined && open >= token.roomFor) throw ckrError('C_OpenSession', 0xb1);
      open += 1;
      sessions += 1;
      return handle(sessions);
    },
    C_CloseSession: () => {
      call('C_CloseSession');
      open -= 1;
    },
    C_Login: (_, __, pin) => {
      call('C_Login', pin === token.pin ? 'right' : 'wrong');
      if (pin !== token.pin) throw ckrError('C_Login', 0xa0);
    },
    C_FindObjectsInit: (_, template) => {
      call('C_FindObjectsInit');
      const objects = token.keys.flatMap((__, index) => [handle(2 * index), handle(2 * index + 1)]);
      found = objects.filter((object) => template.every((wanted) => equal(object, wanted)));
    },
    C_FindObjects: (_, count) => found.slice(0, count),
    C_FindObjectsFinal: () => undefined,
    C_GetAttributeValue: (_, object, template) =>
      template.map(({ type }) => ({ type, value: attribute(object, type) })),
    C_SignInit: (session, _, key) => {
      call('C_SignInit');
      if (inUse.has(numberIn(session))) throw ckrError('C_SignInit', 0x90);
      inUse.set(numberIn(session), key);
    },
    C_Sign: ((
      session: Handle,
      data: Buffer,
      _: Buffer,
      done?: (error: Error | null, signature: Buffer | null) => void,
    ) => {
      if (done === undefined) {
        call('C_Sign', 'here');
        return finish(session, data);
      }
      call('C_Sign', 'thread');
      setTimeout(() => done(null, finish(session, data)), 2);
      return undefined;
    }) as Pkcs11Module['C_Sign'],
  };
};

servePkcs11((path) => {
  if (path === '/not-built') throw new ModuleProblem({ kind: 'addon', message: 'Cannot find module pkcs11.node' });
  if (!existsSync(path)) throw new ModuleProblem({ kind: 'module', message: 'cannot open shared object file' });
  return Promise.resolve(fakeModule(path));
});

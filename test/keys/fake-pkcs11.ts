// A token that does not exist (`fake-pkcs11-process.ts`), and the keys that are opened in it.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createLeases } from '../../src/keys/leases.ts';
import { openPkcs11Key } from '../../src/keys/pkcs11.ts';
import { pkcs11Settings } from '../../src/keys/pkcs11/settings.ts';
import type { Key } from '../../src/keys/port.ts';
import { testContext } from '../contract/keys/contract.ts';

export type FakeKey = {
  readonly label: string;
  readonly id: string;
  /** PEM */
  readonly privateKey: string;
  /** hex, uncompressed */
  readonly point: string;
};

export type FakeToken = {
  readonly labels: readonly string[];
  readonly pin: string;
  readonly keys: readonly FakeKey[];
  readonly flags?: number;
  readonly slotFlags?: number;
  readonly manufacturer?: string;
  /** What the token says, and how many it really opens. */
  readonly maxSessions?: number;
  readonly roomFor?: number;
  readonly withoutMechanism?: boolean;
};

export const rightPin = 'right-pin-secret';

export const fakeKey = (label: string, id: string): FakeKey => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return {
    label,
    id,
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    point: spki.subarray(-65).toString('hex'),
  };
};

/** What a function of PKCS#11 does wrong: fails with that code, ends the process, never returns, takes 2 ms. */
export type Faults = Readonly<Record<string, number | 'exit' | 'hang' | 'slow'>>;

export type Fake = {
  readonly folder: string;
  readonly path: string;
  fail(faults: Faults): void;
  change(more: Partial<FakeToken>): void;
  /** How often a function was called; `detail` as the log has it. */
  count(name: string, detail?: string): number;
  /** The processes that were there, in order. */
  processes(): readonly number[];
  open(more?: object): Promise<Key>;
};

export const startFake = (t: TestContext, more: Partial<FakeToken> = {}, silentMs = 10_000): Fake => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-pkcs11-'));
  const path = join(folder, 'token.json');
  let token: FakeToken = { labels: ['release'], pin: rightPin, keys: [fakeKey('one', '01')], ...more };
  const write = (): void => writeFileSync(path, JSON.stringify(token));
  write();
  const lines = (): string[] =>
    existsSync(`${path}.log`) ? readFileSync(`${path}.log`, 'utf8').trim().split('\n') : [];
  const pkcs11Clients = createLeases<never>();
  const pkcs11Process = { entry: new URL('./fake-pkcs11-process.ts', import.meta.url), silentMs };
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return {
    folder,
    path,
    fail: (faults) => writeFileSync(`${path}.faults`, JSON.stringify(faults)),
    change: (changed) => {
      token = { ...token, ...changed };
      write();
    },
    count: (name, detail) =>
      lines().filter((each) => {
        const [, called, what] = each.split(' ');
        return called === name && (detail === undefined || what === detail);
      }).length,
    processes: () => [...new Set(lines().map((each) => Number(each.split(' ', 1)[0])))],
    open: async (settings = {}) => {
      const base = { name: 'subject', kind: 'pkcs11', module: path, token: 'release', label: 'one', pin: rightPin };
      const parsed = pkcs11Settings.parse({ ...base, ...settings });
      const key = await openPkcs11Key(parsed, { pkcs11Clients, pkcs11Process }, testContext());
      let closed = false;
      const close = async (): Promise<void> => {
        if (!closed) await key.close();
        closed = true;
      };
      t.after(close);
      return { ...key, close };
    },
  };
};

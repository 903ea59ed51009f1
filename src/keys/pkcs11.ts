import { createHash } from 'node:crypto';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { rsaSchemeOf } from './algorithms.ts';
import type { Leases } from './leases.ts';
import { createPkcs11Client, type Pkcs11Client, type Pkcs11Connection } from './pkcs11/client.ts';
import {
  assertInTime,
  evidenceOf,
  originOf,
  protectionOf,
  readSignature,
  readVersion,
  signInput,
} from './pkcs11/key.ts';
import type { FoundKey } from './pkcs11/protocol.ts';
import { type Pkcs11Settings, pkcs11Target } from './pkcs11/settings.ts';
import { type Key, versionOf } from './port.ts';

export type Pkcs11Deps = {
  /** Keys of one token under one PIN share its process and its sessions. */
  readonly pkcs11Clients: Leases<Pkcs11Client>;
  /** The program that holds the module, and how long it may be silent, milliseconds; for tests. */
  readonly pkcs11Process?: { readonly entry: URL; readonly silentMs?: number };
};

/** Equal exactly when a process can be shared. */
const connectionId = (connection: Pkcs11Connection): string =>
  createHash('sha256').update(JSON.stringify(connection)).digest('hex');

const ownProcess: NonNullable<Pkcs11Deps['pkcs11Process']> = {
  entry: new URL('./pkcs11/process.ts', import.meta.url),
};

/**
 * Opens a key in a PKCS#11 token: a process for the module, a login, then the attributes of the key; after that one C_Sign a
 * signature. Errors: key-backends.md section 1.7 as `pkcs11/errors.ts` has it; `readVersion` says what else may be wrong.
 */
export const openPkcs11Key = async (settings: Pkcs11Settings, deps: Pkcs11Deps, context: Context): Promise<Key> => {
  const { connection, key: selector } = pkcs11Target(settings);
  const { entry, silentMs } = deps.pkcs11Process ?? ownProcess;
  const { value: client, release } = deps.pkcs11Clients.lease(connectionId(connection), () =>
    createPkcs11Client(connection, entry, { silentMs }),
  );
  const { at } = client;
  try {
    const pinned = await client.find(selector, context);
    const version = readVersion(pinned.found, settings.name, rsaSchemeOf(settings), at);
    assertInTime(version, at);
    const signing = versionOf(version);
    const same = (found: FoundKey): void => {
      if (readVersion(found, settings.name, rsaSchemeOf(settings), at).version === version.version) return;
      throw new CountersignError(
        'data_loss',
        'KEY_VERSION_MISMATCH',
        `${at} has another key in the place of ${version.version}; nothing was signed.`,
      );
    };
    return {
      description: {
        name: settings.name,
        backend: 'pkcs11',
        protectionLevel: protectionOf(pinned.token, pinned.found),
        evidence: evidenceOf(pinned.token, pinned.found),
        origin: originOf(pinned.found),
        checkedAt: new Date().toISOString(),
        signing,
        versions: [version],
        opaque: [],
      },
      sign: async (toSign, asked) => {
        assertInTime(version, at);
        const raw = await client.sign(pinned, selector, same, signInput(signing, toSign), asked);
        return readSignature(raw, signing, at);
      },
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};

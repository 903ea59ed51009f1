import { createHash } from 'node:crypto';
import { type Context, openContext } from '../model/context.ts';
import type { HttpClientOptions } from '../net/http.ts';
import type { HttpClient } from '../net/port.ts';
import type { Leases } from './leases.ts';
import { type Key, type ListedVersion, versionOf } from './port.ts';
import { readTextFile } from './read-file.ts';
import { createVaultClient } from './vault-client.ts';
import { createVaultSession, type VaultSession } from './vault-session.ts';
import { transitKeyName, type VaultSettings } from './vault-settings.ts';
import { pinVersion, readSignature, readVersions, signRequest } from './vault-transit.ts';

export type VaultDeps = {
  readonly createHttp: (options: HttpClientOptions) => HttpClient;
  /** Keys of one Vault under one login share its session. */
  readonly vaultSessions: Leases<VaultSession>;
  /** How old the list of versions may get, in milliseconds; default 60,000. */
  readonly versionsMaxAgeMs?: number;
};

const defaultVersionsMaxAgeMs = 60_000;
/** The longest a background reading may take, in milliseconds. */
const refreshTimeoutMs = 10_000;

const openSession = (settings: VaultSettings, ca: string | undefined, deps: VaultDeps): VaultSession => {
  const url = new URL(settings.address);
  const http = deps.createHttp({
    plainHttpHosts: url.protocol === 'http:' ? [url.host] : [],
    connectionsPerHost: 64,
    ...(ca === undefined ? {} : { ca: [ca] }),
  });
  return createVaultSession(createVaultClient(http, settings.address, settings.namespace), settings.login);
};

/** Equal exactly when a session can be shared; a digest, since it covers secrets. */
const sessionId = ({ address, namespace, login }: VaultSettings, ca: string | undefined): string =>
  createHash('sha256')
    .update(JSON.stringify([address, namespace, ca, login]))
    .digest('hex');

/**
 * Opens a key of the transit engine (HashiCorp Vault, OpenBao): reads all its versions with their public keys and pins the
 * configured or newest one. One HTTP request a signature from then on. Vault says nothing about hardware below it, so the
 * protection level is `software`. Errors: key-backends.md section 1.7 as `vault-errors.ts` has it.
 */
export const openVaultKey = async (settings: VaultSettings, deps: VaultDeps, context: Context): Promise<Key> => {
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { value: session, release } = deps.vaultSessions.lease(sessionId(settings, ca), () =>
    openSession(settings, ca, deps),
  );
  const { client } = session;
  const transit = {
    name: settings.name,
    key: transitKeyName(settings),
    host: client.host,
    rsaPadding: settings.rsaPadding,
  };
  try {
    const path = `${settings.mount}/keys/${transit.key}`;
    const read = async (asked: Context): Promise<readonly ListedVersion[]> =>
      readVersions(await session.call((token) => client.read(path, token, asked), asked), transit);
    const versions = refreshed(await read(context), read, deps.versionsMaxAgeMs ?? defaultVersionsMaxAgeMs);
    const signing = versionOf(pinVersion(versions(), settings.version, transit));
    const checkedAt = new Date().toISOString();
    return {
      get description() {
        return {
          name: settings.name,
          backend: 'vault',
          protectionLevel: 'software',
          evidence: {},
          origin: 'unknown',
          checkedAt,
          signing,
          versions: versions(),
          opaque: [],
        } as const;
      },
      sign: async (toSign, asked) => {
        const [below, body] = signRequest(signing, transit.key, toSign);
        const target = `${settings.mount}/${below}`;
        const answer = await session.call((token) => client.write(target, body, token, asked), asked);
        return readSignature(answer, signing, client.host);
      },
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};

/**
 * The versions as last read. When they are older than `maxAgeMs`, asking for them starts another reading in the background,
 * so that verification comes to know what a rotation added while the version that signs stays pinned. A reading that
 * fails changes nothing; the next asking after another `maxAgeMs` tries again.
 */
const refreshed = (
  first: readonly ListedVersion[],
  read: (context: Context) => Promise<readonly ListedVersion[]>,
  maxAgeMs: number,
): (() => readonly ListedVersion[]) => {
  let versions = first;
  let readAt = performance.now();
  const refresh = async (): Promise<void> => {
    const owned = openContext('refresh-key-versions', refreshTimeoutMs);
    try {
      versions = await read(owned.context);
    } catch {
      // The versions that are known still verify; signing tells of a Vault that is down.
    } finally {
      owned.dispose();
    }
  };
  return () => {
    if (performance.now() - readAt >= maxAgeMs) {
      readAt = performance.now();
      void refresh();
    }
    return versions;
  };
};

import { createHash } from 'node:crypto';
import type { Context } from '../model/context.ts';
import type { HttpClientOptions } from '../net/http.ts';
import type { HttpClient } from '../net/port.ts';
import type { Leases } from './leases.ts';
import type { Key } from './port.ts';
import { readTextFile } from './read-file.ts';
import { createVaultClient } from './vault-client.ts';
import { createVaultSession, type VaultSession } from './vault-session.ts';
import { transitKeyName, type VaultSettings } from './vault-settings.ts';
import { pinVersion, readSignature, readVersions, signRequest } from './vault-transit.ts';

export type VaultDeps = {
  readonly createHttp: (options: HttpClientOptions) => HttpClient;
  /** Keys of one Vault under one login share its session. */
  readonly vaultSessions: Leases<VaultSession>;
};

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
    const versions = readVersions(await session.call((token) => client.read(path, token, context), context), transit);
    const { state: _, createdAt: __, ...signing } = pinVersion(versions, settings.version, transit);
    return {
      description: { name: settings.name, backend: 'vault', protectionLevel: 'software', signing, versions },
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

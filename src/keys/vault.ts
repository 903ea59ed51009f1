import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Context } from '../model/context.ts';
import type { HttpClientOptions } from '../net/http.ts';
import type { HttpClient } from '../net/port.ts';
import type { TlsMaterial } from '../net/tls.ts';
import { rsaSchemeOf } from './algorithms.ts';
import type { Leases } from './leases.ts';
import { type Key, versionOf } from './port.ts';
import { readTextFile } from './read-file.ts';
import { createVaultClient, type VaultClient } from './vault/client.ts';
import { createVaultSession, type VaultSession } from './vault/session.ts';
import { transitKeyName, type VaultSettings } from './vault/settings.ts';
import { type Send, signBatch, signOne } from './vault/sign.ts';
import { pinVersion, readKey } from './vault/transit.ts';

export type VaultDeps = {
  readonly createHttp: (options: HttpClientOptions) => HttpClient;
  /** Keys of one Vault under one login share its session. */
  readonly vaultSessions: Leases<VaultSession>;
};

const openSession = (settings: VaultSettings, ca: string | undefined, deps: VaultDeps): VaultSession => {
  const { address, namespace, login } = settings;
  const url = new URL(address);
  const connect = (clientCertificate: TlsMaterial | undefined): VaultClient => {
    const http = deps.createHttp({
      plainHttpHosts: url.protocol === 'http:' ? [url.host] : [],
      connectionsPerHost: 64,
      ...(ca === undefined ? {} : { ca: [ca] }),
      ...(clientCertificate === undefined ? {} : { clientCertificate }),
    });
    return createVaultClient(http, address, namespace);
  };
  return createVaultSession(connect, login);
};

/** Equal exactly when a session can be shared; a digest, since it covers secrets. */
const sessionId = ({ address, namespace, login }: VaultSettings, ca: string | undefined): string =>
  createHash('sha256')
    .update(JSON.stringify([address, namespace, ca, login]))
    .digest('hex');

const sealStatus = z.object({
  type: z.string().regex(/^[\w-]{1,64}$/),
  version: z
    .string()
    .regex(/^[\w.+-]{1,64}$/)
    .optional(),
});

/** The kind of Vault's seal (`shamir`, `awskms`, `pkcs11`, ...) and its version, where it says. */
const sealEvidence = async (session: VaultSession, context: Context): Promise<Readonly<Record<string, string>>> => {
  const parsed = sealStatus.safeParse(await session.sealStatus(context));
  if (!parsed.success) return {};
  const { type, version } = parsed.data;
  return { seal: type, ...(version === undefined ? {} : { version }) };
};

/**
 * Opens a key of the transit engine (HashiCorp Vault, OpenBao): reads its versions with their public keys and pins the
 * configured or newest one. One HTTP request a signature, or a batch of them, from then on.
 *
 * The protection level is `software`: whatever seals Vault's storage, an HSM too, the private key is unsealed into the memory
 * of Vault and used there. The kind of seal is kept as evidence, beside the fields of the key. Errors: key-backends.md
 * section 1.7 as `vault/errors.ts` has it; `readKey` and `pinVersion` say what else may be wrong with a key.
 */
export const openVaultKey = async (settings: VaultSettings, deps: VaultDeps, context: Context): Promise<Key> => {
  const ca =
    settings.caFile === undefined ? undefined : await readTextFile(settings.caFile, 'the CA file', 1024 * 1024);
  const { value: session, release } = deps.vaultSessions.lease(sessionId(settings, ca), () =>
    openSession(settings, ca, deps),
  );
  const { name, mount } = settings;
  const { host } = new URL(settings.address);
  const transit = { name, key: transitKeyName(settings), host, rsa: rsaSchemeOf(settings) };
  try {
    const path = `${mount}/keys/${transit.key}`;
    const answer = await session.call((client, token) => client.read(path, token, context), context);
    const described = readKey(answer, transit);
    const signing = versionOf(pinVersion(described, settings.version, transit));
    const checkedAt = new Date().toISOString();
    const evidence = { ...described.evidence, ...(await sealEvidence(session, context)) };
    const target = { version: signing, key: transit.key, host };
    const sendIn =
      (asked: Context): Send =>
      (below, body) =>
        session.call((client, token) => client.write(`${mount}/${below}`, body, token, asked), asked);
    return {
      description: {
        name,
        backend: 'vault',
        protectionLevel: 'software',
        evidence,
        origin: described.origin,
        checkedAt,
        signing,
        versions: described.versions,
        opaque: described.opaque,
      },
      sign: (toSign, asked) => signOne(toSign, target, sendIn(asked)),
      signMany: (toSigns, asked) => signBatch(toSigns, target, sendIn(asked)),
      close: release,
    };
  } catch (caught) {
    await release();
    throw caught;
  }
};

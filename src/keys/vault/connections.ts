import { createHash } from 'node:crypto';
import { readTlsFiles, type TlsMaterial } from '../../net/tls.ts';
import { createLeases, type Lease } from '../leases.ts';
import type { VaultClient } from './client.ts';
import type { VaultLogin } from './settings.ts';

/** A client that is open until this and every other lease of it is released. */
export type VaultConnection = Lease<VaultClient> & {
  /** Another lease of the same client, for one call. */
  again(): Lease<VaultClient>;
};

/** The clients of one session: one, or one a client certificate while an old one still has calls under way. */
export type VaultConnections = {
  /**
   * For a `cert` login reads its files anew and connects with them; else the one client. Throws as `readTlsFiles`.
   */
  open(): Promise<VaultConnection>;
  /** Closes all at once, with the calls that are under way. */
  close(): Promise<void>;
};

const idOf = (certificate: TlsMaterial | undefined): string =>
  certificate === undefined
    ? ''
    : createHash('sha256')
        .update(JSON.stringify([certificate.cert, certificate.key]))
        .digest('hex');

export const createVaultConnections = (
  connect: (certificate: TlsMaterial | undefined) => VaultClient,
  login: VaultLogin,
): VaultConnections => {
  const leases = createLeases<VaultClient>();
  const running = new Set<VaultClient>();

  const start = (certificate: TlsMaterial | undefined): VaultClient => {
    const client = connect(certificate);
    const tracked: VaultClient = {
      ...client,
      close: () => {
        running.delete(tracked);
        return client.close();
      },
    };
    running.add(tracked);
    return tracked;
  };

  return {
    open: async () => {
      const certificate = login.method === 'cert' ? await readTlsFiles(login) : undefined;
      const again = (): Lease<VaultClient> => leases.lease(idOf(certificate), () => start(certificate));
      return { ...again(), again };
    },
    close: async () => {
      await Promise.all([...running].map((client) => client.close()));
    },
  };
};

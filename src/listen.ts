import type { ListenerSecurity } from './api/security.ts';
import { hostAndPort, type ListenerSettings } from './config/listener-settings.ts';
import { CountersignError } from './model/error.ts';
import { readTlsFiles, type TlsFiles } from './net/tls.ts';
import type { RenewableListener } from './renew-certificates.ts';

type Where = {
  readonly address: { readonly host: string; readonly port: number };
  readonly security: ListenerSecurity;
};

/**
 * Starts a listener where the configuration says; undefined when it says nothing. Rejects with `failed_precondition`, reason
 * `LISTEN_FAILED` or `TLS_FILE_INVALID`.
 */
export const listen = async <T>(
  settings: ListenerSettings | undefined,
  start: (where: Where) => Promise<T>,
): Promise<T | undefined> => {
  if (settings === undefined) return undefined;
  const security = await securityOf(settings);
  try {
    return await start({ address: hostAndPort(settings.address), security });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CountersignError(
      'failed_precondition',
      'LISTEN_FAILED',
      `Nothing can listen on ${settings.address} (${code}); is the port taken, or the address not of this machine?`,
      { cause: error },
    );
  }
};

const securityOf = async ({ tls }: ListenerSettings): Promise<ListenerSecurity> => {
  if (tls === undefined) return { kind: 'plaintext' };
  return {
    kind: 'tls',
    material: await readTlsFiles(tlsFilesOf(tls)),
    requireClientCertificate: tls.clientCaFile !== undefined && tls.clientCertificate !== 'optional',
  };
};

const tlsFilesOf = ({ certFile, keyFile, clientCaFile }: NonNullable<ListenerSettings['tls']>): TlsFiles => ({
  certFile,
  keyFile,
  ...(clientCaFile === undefined ? {} : { clientCaFile }),
});

/** A listener with TLS as what gets a new certificate; none without. */
export const renewable = (
  name: RenewableListener['name'],
  settings: ListenerSettings | undefined,
  listener: Pick<RenewableListener, 'renew'> | undefined,
): readonly RenewableListener[] => {
  if (settings?.tls === undefined || listener === undefined) return [];
  return [{ name, files: tlsFilesOf(settings.tls), renew: listener.renew }];
};

/** `host:port` that a listener has, the port that it really got. */
export const addressOf = (
  settings: ListenerSettings | undefined,
  listener: { readonly port: number } | undefined,
): string | undefined =>
  settings && listener && `${settings.address.slice(0, settings.address.lastIndexOf(':'))}:${listener.port}`;

import { UsageError } from './command.ts';

/** Where the service is. */
export type Address = {
  /** `host:port` */
  readonly authority: string;
  readonly tls: boolean;
  /** Does the address stay on this machine? */
  readonly loopback: boolean;
};

const schemes: Readonly<Record<string, boolean>> = { grpc: false, http: false, grpcs: true, https: true };

/**
 * `--server` -> Address. `grpcs://` (and `https://`) is TLS, `grpc://` (and `http://`) plain text; `host:port` alone is
 * TLS unless `plaintext`. Throws UsageError.
 */
export const parseAddress = (text: string, plaintext: boolean): Address => {
  const [, scheme, rest = ''] = /^(?:([a-z]+):\/\/)?(.*)$/.exec(text) ?? [];
  const tls = scheme === undefined ? !plaintext : schemes[scheme];
  if (tls === undefined) throw new UsageError(`--server: the scheme ${scheme}:// is not one of grpc://, grpcs://.`);
  if (tls && plaintext) throw new UsageError(`--server ${text} means TLS, --plaintext means none; leave one away.`);
  // The scheme is one that URL gives no meaning to, so that no port is dropped as a default one.
  const url = URL.parse(`grpc://${rest}`);
  const { hostname = '', port = '' } = url ?? {};
  if (url === null || hostname === '' || port === '' || !/^\/?$/.test(url.pathname) || url.username !== '') {
    throw new UsageError(`--server '${text}' must be HOST:PORT, with grpc:// or grpcs:// before it.`);
  }
  return { authority: `${hostname}:${port}`, tls, loopback: isLoopback(hostname) };
};

/** `30s`, `500ms`, `2m`, `30` (seconds) -> milliseconds, 1 to a day. Throws UsageError. */
export const parseTimeout = (text: string): number => {
  const [, amount, unit = 's'] = /^(\d{1,8})(ms|s|m)?$/.exec(text) ?? [];
  const factor = unit === 'ms' ? 1 : unit === 's' ? 1000 : 60_000;
  const milliseconds = Number(amount) * factor;
  if (!(milliseconds >= 1 && milliseconds <= 86_400_000)) {
    throw new UsageError(`--timeout '${text}' must be a time such as 30s, 500ms or 2m.`);
  }
  return milliseconds;
};

const isLoopback = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);

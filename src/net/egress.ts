import { isIP } from 'node:net';
import { CountersignError } from '../model/error.ts';
import { addressClass, embeddedIpv4, inNetwork, isInward, literalAddress, sameAddress } from './address.ts';

/**
 * Where the outbound client may go. Public addresses: always. Link-local, multicast, NAT64, 6to4, reserved ones and the metadata
 * services of clouds: only what `allowPrivate` lists. Between the two lie the networks of one's own, where `named` decides.
 *
 * Steered by others than the configuration, and so for a client with `named`: the registry of an image and of the repository for
 * signatures (callers); realms, redirects of manifests and blobs (registries). An upload's Location, the link to a next page and an
 * issuer's jwks_uri are held to the origin that gave them, and redirects of token services, uploads and discovery are not followed, in
 * the rooms that read them. Clients that ask configured addresses alone (issuers, key backends) have no `named`.
 */
export type EgressPolicy = {
  /** `host` (any port) or `host:port`, lower case: spoken to over plain http, and named. Every other host is https only. */
  readonly plainHttpHosts: readonly string[];
  /**
   * `host` (any port), `host:port`, an address, or a network as `10.0.0.0/8`: allowed although the address is of a class that
   * is refused. A network does not let in the metadata services of clouds that lie in it: those must be listed themselves.
   */
  readonly allowPrivate?: readonly string[];
  /**
   * Does the configuration name this `host[:port]` (as in URLs, without the scheme's default port)? Only hosts that it names
   * may be at loopback, private (RFC 1918, RFC 4193) and carrier-grade NAT addresses. Default: it names all.
   */
  readonly named?: (host: string) => boolean;
};

/** Is `host` (`name` or `name:port`) one that the configuration names as plain text? */
export const speaksPlainHttp = (host: string, plainHttpHosts: readonly string[]): boolean => {
  const lower = host.toLowerCase();
  const name = lower.replace(/:\d+$/, '');
  return plainHttpHosts.includes(lower) || plainHttpHosts.includes(name);
};

/**
 * The gate that every outbound URL passes, redirects, realms and links included. Throws `failed_precondition`, reason
 * `EGRESS_DENIED`. It judges the URL alone; what a name resolves to is judged by `assertAddressAllowed`, when it is connected to.
 */
export const assertAllowed = (url: URL, policy: EgressPolicy): void => {
  if (url.username !== '' || url.password !== '') throw denied(url, 'a URL may not carry a user name or password');
  if (url.protocol === 'http:') {
    if (!speaksPlainHttp(url.host, policy.plainHttpHosts)) {
      throw denied(url, 'it is not among the hosts that may be spoken to over plain http');
    }
  } else if (url.protocol !== 'https:') {
    throw denied(url, `the scheme ${url.protocol.slice(0, -1)} is not http or https`);
  }
  const address = literalAddress(url.hostname);
  if (address !== undefined) assertAddressAllowed(url, address, policy);
};

/** May a connection for `url` be made to this IP address? Throws as `assertAllowed`; the message tells the class; the address is in the cause, for the log. */
export const assertAddressAllowed = (url: URL, address: string, policy: EgressPolicy): void => {
  if (isAddressAllowed(url, address, policy)) return;
  const range = addressClass(address);
  const entry = JSON.stringify(bare(url.hostname));
  throw denied(
    url,
    `its address is ${words[range] ?? 'in a reserved range'}`,
    range === 'metadata'
      ? `If that is meant, add ${entry} to outbound.allowPrivate`
      : `If that is meant, add ${entry}, or the network that it is in, to outbound.allowPrivate`,
    new Error(`${url.host} is at ${address.slice(0, 100)}`),
  );
};

const isAddressAllowed = (url: URL, address: string, policy: EgressPolicy): boolean => {
  const range = addressClass(address);
  if (range === 'unicast') return true;
  if (isIP(address) === 0) return false;
  const listed = (policy.allowPrivate ?? []).map(bare);
  const host = bare(url.hostname);
  if (listed.includes(host) || listed.includes(url.host)) return true;
  if (listed.some((entry) => sameAddress(entry, address))) return true;
  if (range === 'metadata') return false;
  if (listed.some((network) => network.includes('/') && inNetwork(address, network))) {
    // Behind a NAT64 that is allowed lies an IPv4 address, which is judged as if it stood there itself.
    return range !== 'rfc6052' || isAddressAllowed(url, embeddedIpv4(address), policy);
  }
  if (!isInward(range)) return false;
  return policy.named === undefined || policy.named(url.host) || speaksPlainHttp(url.host, policy.plainHttpHosts);
};

/** Would `allowPrivate` let a connection to this literal address of a URL through? */
export const isPrivateAllowed = (url: URL, allowPrivate: readonly string[]): boolean => {
  const address = literalAddress(url.hostname);
  return (
    address !== undefined && isAddressAllowed(url, address, { plainHttpHosts: [], allowPrivate, named: () => false })
  );
};

/** May an answer from `from` send us on to `to`? Not to ourselves, unless we asked ourselves: services there trust the host. */
export const mayRedirect = (from: URL, to: URL): boolean => !isLoopback(to) || isLoopback(from);

const isLoopback = (url: URL): boolean => {
  const address = literalAddress(url.hostname);
  return address !== undefined && addressClass(address) === 'loopback';
};

const bare = (hostname: string): string => hostname.replace(/^\[([^\]]*)\]$/, '$1');

const words: Readonly<Record<string, string>> = {
  loopback: 'this machine itself (loopback)',
  private: 'private',
  uniqueLocal: 'private',
  carrierGradeNat: 'behind a carrier-grade NAT',
  linkLocal: 'link-local',
  metadata: "that of a cloud's metadata service",
  unspecified: 'the unspecified one',
  broadcast: 'a broadcast one',
  multicast: 'a multicast one',
  rfc6052: 'behind a NAT64',
  '6to4': 'in 6to4',
  teredo: 'in Teredo',
};

const denied = (url: URL, why: string, fix?: string, cause?: Error): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'EGRESS_DENIED',
    `Requests to ${url.host} are not allowed: ${why}.${fix === undefined ? '' : ` ${fix}.`}`,
    { metadata: { host: url.host }, ...(cause === undefined ? {} : { cause }) },
  );

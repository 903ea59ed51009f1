import ipaddr from 'ipaddr.js';
import { CountersignError } from '../model/error.ts';

/** Where the outbound client may go. */
export type EgressPolicy = {
  /** `host` (any port) or `host:port`, lower case: spoken to over plain http. Every other host is https only. */
  readonly plainHttpHosts: readonly string[];
  /** Hosts that are allowed although their address is of a class that is refused. */
  readonly allowPrivate?: readonly string[];
};

/** No service that we call lives at such an address; the cloud metadata services do, also by way of an IPv6 translation. */
const refusedRanges = new Set([
  'unspecified',
  'broadcast',
  'multicast',
  'linkLocal',
  'rfc6052',
  'rfc6145',
  '6to4',
  'teredo',
]);

/** Is `host` (`name` or `name:port`) one that the configuration names as plain text? */
export const speaksPlainHttp = (host: string, plainHttpHosts: readonly string[]): boolean => {
  const lower = host.toLowerCase();
  const name = lower.replace(/:\d+$/, '');
  return plainHttpHosts.includes(lower) || plainHttpHosts.includes(name);
};

/** The address class of a URL's hostname: an ipaddr.js range, `loopback` for localhost, `name` for any other name. */
export const addressClass = (hostname: string): string => {
  const bare = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (bare === 'localhost' || bare.endsWith('.localhost')) return 'loopback';
  if (!ipaddr.isValid(bare)) return 'name';
  return ipaddr.process(bare).range();
};

/**
 * The one gate that every outbound URL passes, redirects, realms and links included. Throws `failed_precondition`,
 * reason `EGRESS_DENIED`. It judges the URL alone; what a name resolves to is not looked at here.
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
  const range = addressClass(url.hostname);
  if (refusedRanges.has(range) && !(policy.allowPrivate ?? []).includes(url.hostname)) {
    throw denied(url, `its address is ${range}`);
  }
};

/** May an answer from `from` send us on to `to`? Not to ourselves, unless we asked ourselves: services there trust the host. */
export const mayRedirect = (from: URL, to: URL): boolean =>
  addressClass(to.hostname) !== 'loopback' || addressClass(from.hostname) === 'loopback';

const denied = (url: URL, why: string): CountersignError =>
  new CountersignError('failed_precondition', 'EGRESS_DENIED', `Requests to ${url.host} are not allowed: ${why}.`, {
    metadata: { host: url.host },
  });

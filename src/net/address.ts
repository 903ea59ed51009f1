import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Metadata and platform services of clouds; some of these addresses look public, or private as others of the network. */
const metadataAddresses = new Set([
  '169.254.169.254', // AWS, Google Cloud, Azure and most others
  '169.254.170.2', // credentials of ECS tasks
  '169.254.170.23', // credentials of EKS pods
  '168.63.129.16', // Azure's platform
  '192.0.0.192', // Oracle
  '100.100.100.200', // Alibaba
  'fd00:ec2::254', // AWS
  'fd00:ec2::23', // credentials of EKS pods
  'fd20:ce::254', // Google Cloud
]);

const globalUnicast: readonly [ipaddr.IPv6, number] = [ipaddr.IPv6.parse('2000::'), 3];
const inwardRanges = new Set(['loopback', 'private', 'uniqueLocal', 'carrierGradeNat']);

/**
 * The class of an IP address (text, IPv6 without brackets): `unicast` for public ones (IANA's special-purpose registries know nothing
 * of them), `metadata`, or an ipaddr.js range. IPv4-mapped IPv6 is judged as IPv4; IPv6 outside of 2000::/3 is never public.
 * `name` for what is no address.
 */
export const addressClass = (address: string): string => {
  if (isIP(address) === 0) return 'name';
  const parsed = ipaddr.process(address);
  if (metadataAddresses.has(canonical(parsed))) return 'metadata';
  const range = parsed.range();
  if (range === 'unicast' && parsed instanceof ipaddr.IPv6 && !parsed.match([...globalUnicast])) return 'reserved';
  return range;
};

/** Is it a class of addresses that networks of one's own use? */
export const isInward = (range: string): boolean => inwardRanges.has(range);

/** The address that a URL's hostname spells; of `localhost` and names below it 127.0.0.1; undefined for other names. */
export const literalAddress = (hostname: string): string | undefined => {
  const plain = hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  if (plain === 'localhost' || plain.endsWith('.localhost')) return '127.0.0.1';
  return isIP(plain) === 0 ? undefined : plain;
};

/** Is `address` in `network` (CIDR)? An IPv4-mapped address is looked for as IPv4. */
export const inNetwork = (address: string, network: string): boolean => {
  const parsed = ipaddr.process(address);
  const [base, bits] = ipaddr.parseCIDR(network);
  if (parsed instanceof ipaddr.IPv4) return base instanceof ipaddr.IPv4 && parsed.match(base, bits);
  return base instanceof ipaddr.IPv6 && parsed.match(base, bits);
};

/** The IPv4 address in the last 32 bits of an IPv6 one: where a NAT64 with a /96 prefix has it (RFC 6052 section 2.2). */
export const embeddedIpv4 = (address: string): string => ipaddr.IPv6.parse(address).toByteArray().slice(12).join('.');

/** Do both spell the same IP address? An IPv4-mapped one is the IPv4 one. */
export const sameAddress = (one: string, other: string): boolean =>
  isIP(one) !== 0 && isIP(other) !== 0 && canonical(ipaddr.process(one)) === canonical(ipaddr.process(other));

/** Why `entry` is none of `allowPrivate` in `EgressPolicy`; undefined when it is one. Networks wider than /8 (IPv6: /7) are slips. */
export const privateEntryProblem = (entry: string): string | undefined => {
  const shape = 'must be a lower-case host, host:port, an address, or a network such as 10.0.0.0/8';
  if (entry.includes('/')) {
    if (isIP(entry.slice(0, entry.indexOf('/'))) === 0 || !ipaddr.isValidCIDR(entry)) return shape;
    const [base, bits] = ipaddr.parseCIDR(entry);
    const least = base instanceof ipaddr.IPv4 ? 8 : 7;
    return bits < least ? `is too wide a network: at least /${least}` : undefined;
  }
  if (isIP(entry) !== 0) return undefined;
  return !entry.includes('*') && URL.parse(`https://${entry}/`)?.href === `https://${entry}/` ? undefined : shape;
};

const canonical = (address: ipaddr.IPv4 | ipaddr.IPv6): string =>
  // Without the zone, which is no part of the address.
  address instanceof ipaddr.IPv6 ? new ipaddr.IPv6(address.parts).toString() : address.toString();

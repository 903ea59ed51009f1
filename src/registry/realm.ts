import { CountersignError } from '../model/error.ts';
import { addressClass, literalAddress } from '../net/address.ts';
import { isPrivateAllowed, speaksPlainHttp } from '../net/egress.ts';

/**
 * Checks the token service that a registry names. It gets this registry's credentials, so: an absolute URL without user
 * name or fragment; https, unless its host is configured as plain text and the registry is asked in plain text too; and never an
 * address of a class (loopback, private, ...) that the registry itself is not of, unless `allowPrivate` (as in
 * `net/egress.ts`) lists it, or a public registry could point us inwards. What its name resolves to is judged when it is
 * asked, as for any host. Throws `failed_precondition`, reason `AUTH_REALM_REFUSED`.
 */
export const checkRealm = (
  realm: string,
  registryUrl: URL,
  plainHttpHosts: readonly string[],
  allowPrivate: readonly string[] = [],
): URL => {
  const url = URL.parse(realm);
  if (url === null) throw refused(registryUrl.host, 'is not an absolute URL');
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw refused(registryUrl.host, 'carries a user name or a fragment');
  }
  const plain =
    url.protocol === 'http:' && registryUrl.protocol === 'http:' && speaksPlainHttp(url.host, plainHttpHosts);
  if (url.protocol !== 'https:' && !plain) throw refused(registryUrl.host, 'is not https');
  const inward = classOf(url);
  if (inward !== 'name' && inward !== 'unicast' && inward !== classOf(registryUrl)) {
    if (!isPrivateAllowed(url, allowPrivate)) {
      throw refused(registryUrl.host, `is at a ${inward} address and the registry is not`);
    }
  }
  return url;
};

/**
 * For credentials that are the registry's alone: throws `failed_precondition`, reason `AUTH_REALM_REFUSED`, for a token service on
 * another origin than the registry's.
 */
export const assertOwnRealm = (realm: URL, registryUrl: URL): void => {
  if (realm.origin !== registryUrl.origin) {
    throw refused(registryUrl.host, 'is not of the registry itself, and these credentials are for it alone');
  }
};

const classOf = (url: URL): string => {
  const address = literalAddress(url.hostname);
  return address === undefined ? 'name' : addressClass(address);
};

const refused = (registry: string, why: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'AUTH_REALM_REFUSED',
    `The token service that registry ${registry} names was not asked: its address ${why}.`,
    { metadata: { registry } },
  );

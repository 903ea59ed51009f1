import { CountersignError } from '../model/error.ts';
import { addressClass, speaksPlainHttp } from '../net/egress.ts';

/**
 * Checks the token service that a registry names. It gets this registry's credentials, so: an absolute URL without user
 * name or fragment; https, unless its host is configured as plain text; and never an address of a class (loopback,
 * private, ...) that the registry itself is not of, or a public registry could point us inwards. Throws
 * `failed_precondition`, reason `AUTH_REALM_REFUSED`.
 */
export const checkRealm = (realm: string, registryUrl: URL, plainHttpHosts: readonly string[]): URL => {
  const url = URL.parse(realm);
  if (url === null) throw refused(registryUrl.host, 'is not an absolute URL');
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw refused(registryUrl.host, 'carries a user name or a fragment');
  }
  const plain = url.protocol === 'http:' && speaksPlainHttp(url.host, plainHttpHosts);
  if (url.protocol !== 'https:' && !plain) throw refused(registryUrl.host, 'is not https');
  const inward = addressClass(url.hostname);
  if (inward !== 'name' && inward !== 'unicast' && inward !== addressClass(registryUrl.hostname)) {
    throw refused(registryUrl.host, `is at a ${inward} address and the registry is not`);
  }
  return url;
};

const refused = (registry: string, why: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'AUTH_REALM_REFUSED',
    `The token service that registry ${registry} names was not asked: its address ${why}.`,
    { metadata: { registry } },
  );

/**
 * A registry's `host[:port]` in the one spelling that requests to it carry: lower case, addresses in their usual form (`127.1` is
 * `127.0.0.1`), no leading zeros and no default port. Policy compares names as text, so two spellings of one registry
 * would be two names for one repository. Undefined for what no request can be sent to, and for port 80, which is the
 * default one where a registry speaks plain http.
 */
export const canonicalRegistryHost = (host: string): string | undefined => {
  const url = URL.parse(`https://${host}/`);
  if (url === null || url.port === '80' || url.port === '0' || url.href !== `https://${url.host}/`) return undefined;
  return url.host;
};

import { readFile, stat } from 'node:fs/promises';
import { isJsonObject, parseStrictJson } from '../codec/strict-json.ts';
import type { Context } from '../model/context.ts';
import type { HttpClient } from '../net/port.ts';
import { maxKeySetBytes } from './key-set.ts';
import type { IssuerSettings } from './settings.ts';

/** Where an issuer's JWK set comes from; answers its bytes. Throws an Error (or CountersignError) that says why it could not. */
export type KeySource = (context: Context) => Promise<Uint8Array>;

const get = async (http: HttpClient, url: string, context: Context): Promise<Uint8Array> => {
  const response = await http.request(
    { method: 'GET', url, headers: { accept: 'application/json' }, maxBytes: maxKeySetBytes, followRedirects: false },
    context,
  );
  if (response.status !== 200) throw new Error(`${url} answered ${response.status}`);
  return response.body;
};

/**
 * The `jwks_uri` of an issuer (OpenID Connect Discovery 1.0 sections 3 and 4). The document must name exactly this issuer, and
 * its keys must lie on the issuer's own host: one that does not is pinned by `jwks: {url}` instead.
 */
const discoverKeyAddress = async (settings: IssuerSettings, http: HttpClient, context: Context): Promise<string> => {
  const address = `${settings.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
  const document = parseStrictJson(await get(http, address, context), { maxBytes: maxKeySetBytes, maxDepth: 16 });
  if (!isJsonObject(document) || document.issuer !== settings.issuer) {
    throw new Error(`${address} does not speak for the issuer ${settings.issuer}`);
  }
  const uri = document.jwks_uri;
  if (typeof uri !== 'string' || !URL.canParse(uri)) throw new Error(`${address} has no jwks_uri`);
  const { protocol, host, username } = new URL(uri);
  const issuer = new URL(settings.issuer);
  if (host !== issuer.host || protocol !== issuer.protocol || username !== '') {
    throw new Error(`the jwks_uri of ${settings.issuer} is not on its own host; pin it with jwks: {url: ...}`);
  }
  return uri;
};

/** The source of keys that the settings name. */
export const keySource = (settings: IssuerSettings, http: HttpClient): KeySource => {
  const { jwks } = settings;
  if (jwks === 'discovery')
    return async (context) => get(http, await discoverKeyAddress(settings, http, context), context);
  if ('url' in jwks) return (context) => get(http, jwks.url, context);
  return async () => {
    if ((await stat(jwks.file)).size > maxKeySetBytes)
      throw new Error(`${jwks.file} is larger than ${maxKeySetBytes} bytes`);
    return readFile(jwks.file);
  };
};

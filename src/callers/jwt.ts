import { decodeBase64Url } from '../codec/base64.ts';
import { isJsonObject, type JsonLimits, type JsonObject, parseStrictJson } from '../codec/strict-json.ts';
import { unauthenticated } from './unauthenticated.ts';

/** The most characters of a token; more is refused before anything looks at it. */
const maxTokenLength = 16 * 1024;

/** A token taken apart; nothing in it is verified. */
export type UnverifiedJwt = {
  readonly algorithm: string;
  readonly keyId: string;
  /** Null-prototype objects all the way down. */
  readonly claims: Readonly<Record<string, unknown>>;
};

/** Headers that bring their own key, or that change what is signed (RFC 7515 section 4.1): nothing honest here uses them. */
const refusedHeaders = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64'];

/** Types that a caller's token may declare (RFC 8725 section 3.11); others are tokens made for another purpose. */
const acceptedTypes = ['jwt', 'at+jwt', 'application/jwt', 'application/at+jwt'];

const malformed = (problem: string) =>
  unauthenticated('TOKEN_MALFORMED', `The bearer token is not a well-formed signed JWT: ${problem}.`);

const segment = (text: string, name: string, limits: JsonLimits): JsonObject => {
  const bytes = decodeBase64Url(text);
  if (bytes === undefined || bytes.length === 0) throw malformed(`its ${name} is not base64url without padding`);
  let value: unknown;
  try {
    value = parseStrictJson(bytes, limits);
  } catch {
    throw malformed(`its ${name} is not strict JSON (UTF-8, no duplicate keys, not too deep)`);
  }
  if (!isJsonObject(value)) throw malformed(`its ${name} is not a JSON object`);
  return value;
};

const withoutPrototypes = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutPrototypes);
  if (!isJsonObject(value)) return value;
  const bare: Record<string, unknown> = Object.create(null);
  for (const [key, item] of Object.entries(value)) bare[key] = withoutPrototypes(item);
  return bare;
};

/** Throws `unauthenticated` when the token is longer than anything should look at. */
export const assertTokenLength = (token: string): void => {
  if (token.length <= maxTokenLength) return;
  throw unauthenticated('TOKEN_TOO_LARGE', `The bearer token is longer than ${maxTokenLength} characters.`);
};

/**
 * Takes a compact JWS (RFC 7515 section 7.1) apart, strictly: at most 16 KiB, exactly three segments, canonical base64url,
 * strict JSON, a `kid`, no header that brings a key along. Throws `unauthenticated`. Never opens a connection.
 */
export const readJwt = (token: string): UnverifiedJwt => {
  assertTokenLength(token);
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first < 0 || second < 0 || token.includes('.', second + 1)) throw malformed('it does not have three segments');

  const header = segment(token.slice(0, first), 'header', { maxBytes: 4096, maxDepth: 4, maxKeys: 32 });
  const refused = refusedHeaders.find((name) => Object.hasOwn(header, name));
  if (refused !== undefined) {
    throw unauthenticated('HEADER_REFUSED', `The header "${refused}" of a bearer token is not accepted; leave it out.`);
  }
  const { alg, kid, typ } = header;
  if (typeof alg !== 'string') throw malformed('its header has no "alg"');
  if (typeof kid !== 'string' || kid === '' || kid.length > 512) throw malformed('its header has no "kid"');
  if (typ !== undefined && !(typeof typ === 'string' && acceptedTypes.includes(typ.toLowerCase()))) {
    throw unauthenticated('HEADER_REFUSED', 'The header "typ" of a bearer token must be "JWT" or "at+jwt", or absent.');
  }
  const signature = decodeBase64Url(token.slice(second + 1));
  if (signature === undefined || signature.length === 0)
    throw malformed('its signature is not base64url without padding');

  const payload = segment(token.slice(first + 1, second), 'payload', {
    maxBytes: maxTokenLength,
    maxDepth: 16,
    maxKeys: 512,
  });
  return { algorithm: alg, keyId: kid, claims: withoutPrototypes(payload) as Record<string, unknown> };
};

import type { IssuerSettings } from './settings.ts';
import { quoted, unauthenticated } from './unauthenticated.ts';

type Claims = Readonly<Record<string, unknown>>;

/** The claims that every token has once checked. Times in seconds since the Unix epoch. */
export type CheckedClaims = { readonly subject: string; readonly issuedAt: number; readonly expiresAt: number };

const numericDate = (claims: Claims, name: string): number => {
  const value = claims[name];
  if (value === undefined)
    throw unauthenticated('CLAIM_MISSING', `The token has no "${name}" claim, which is required.`);
  if (typeof value !== 'number' || value < 0) {
    throw unauthenticated('CLAIM_INVALID', `The "${name}" claim of the token must be a number of seconds since 1970.`);
  }
  return value;
};

const text = (claims: Claims, name: string): string => {
  const value = claims[name];
  if (value === undefined)
    throw unauthenticated('CLAIM_MISSING', `The token has no "${name}" claim, which is required.`);
  if (typeof value !== 'string' || value === '' || value.length > 1024 || /\p{Cc}/u.test(value)) {
    throw unauthenticated(
      'CLAIM_INVALID',
      `The "${name}" claim must be 1 to 1024 characters without control characters.`,
    );
  }
  return value;
};

/** Throws unless `aud` is the one audience that this service wants, alone (a list of exactly that one is the same). */
const checkAudience = (claims: Claims, wanted: string): void => {
  const { aud } = claims;
  if (aud === undefined) throw unauthenticated('CLAIM_MISSING', 'The token has no "aud" claim, which is required.');
  const audience = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
  if (audience === wanted) return;
  const rest = Array.isArray(aud) && aud.includes(wanted) ? ' and no other' : '';
  throw unauthenticated(
    'AUDIENCE_MISMATCH',
    `The token's audience is ${quoted(aud)}; this service wants "${wanted}"${rest}: ask the issuer for a token with that audience.`,
  );
};

/** Throws unless the token may be used at `now` (seconds since the Unix epoch). Also asked of tokens from the cache. */
export const checkTimes = ({ issuedAt, expiresAt }: CheckedClaims, now: number, settings: IssuerSettings): void => {
  if (expiresAt + settings.clockToleranceSeconds <= now) {
    throw unauthenticated('TOKEN_EXPIRED', `The token expired ${Math.ceil(now - expiresAt)} s ago; request a new one.`);
  }
  if (now - issuedAt > settings.maxAgeSeconds + settings.clockToleranceSeconds) {
    throw unauthenticated(
      'TOKEN_TOO_OLD',
      `The token was issued ${Math.floor(now - issuedAt)} s ago; at most ${settings.maxAgeSeconds} s are accepted: request a new one.`,
    );
  }
};

/**
 * Checks the claims of a token against its issuer's settings (RFC 7519 section 4.1, RFC 8725): audience, subject, times, id.
 * `now` in seconds since the Unix epoch. Throws `unauthenticated`.
 */
export const checkClaims = (claims: Claims, now: number, settings: IssuerSettings): CheckedClaims => {
  checkAudience(claims, settings.audience);
  const subject = text(claims, 'sub');
  if (settings.requireJti) text(claims, 'jti');
  const checked = { subject, issuedAt: numericDate(claims, 'iat'), expiresAt: numericDate(claims, 'exp') };
  const notBefore = claims.nbf === undefined ? 0 : numericDate(claims, 'nbf');
  const latest = Math.max(notBefore, checked.issuedAt);
  if (latest - settings.clockToleranceSeconds > now) {
    throw unauthenticated(
      'TOKEN_NOT_YET_VALID',
      `The token is not valid before ${Math.ceil(latest - now)} s from now; check the clocks of issuer and service.`,
    );
  }
  checkTimes(checked, now, settings);
  const lifetime = checked.expiresAt - checked.issuedAt;
  if (lifetime <= 0)
    throw unauthenticated('CLAIM_INVALID', 'The "exp" claim of the token must be later than its "iat".');
  if (lifetime > settings.maxLifetimeSeconds) {
    throw unauthenticated(
      'TOKEN_LIFETIME_TOO_LONG',
      `The token lives ${lifetime} s; at most ${settings.maxLifetimeSeconds} s are accepted: request a shorter one.`,
    );
  }
  return checked;
};

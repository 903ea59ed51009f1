import { CountersignError } from '../model/error.ts';

/** Why a token was refused: `reason` of the `unauthenticated` error. */
export type TokenReason =
  | 'TOKEN_MISSING'
  | 'TOKEN_MALFORMED'
  | 'TOKEN_TOO_LARGE'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_NOT_YET_VALID'
  | 'TOKEN_TOO_OLD'
  | 'TOKEN_LIFETIME_TOO_LONG'
  | 'HEADER_REFUSED'
  | 'ALGORITHM_REFUSED'
  | 'KEY_UNKNOWN'
  | 'ISSUER_UNKNOWN'
  | 'AUDIENCE_MISMATCH'
  | 'CLAIM_MISSING'
  | 'CLAIM_INVALID'
  | 'SIGNATURE_INVALID';

/** An `unauthenticated` error whose message says what to mend and never shows the token. */
export const unauthenticated = (reason: TokenReason, message: string, retryAfterMs?: number): CountersignError =>
  new CountersignError('unauthenticated', reason, message, retryAfterMs === undefined ? {} : { retryAfterMs });

/** A value of the caller's own token, fit for a message: quoted, at most 200 characters, no control characters. */
export const quoted = (value: unknown): string => {
  const text = (typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing')).replace(/\p{C}/gu, '\ufffd');
  return `"${text.length > 200 ? `${text.slice(0, 200).toWellFormed()}…` : text}"`;
};

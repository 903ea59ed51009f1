/** Who is asking, as proven by a verified credential. Nothing in here comes from the request itself. */
export type Caller = {
  readonly kind: 'oidc';
  /** The exact `iss` of the token. */
  readonly issuer: string;
  /** The token's `sub`. */
  readonly subject: string;
  /** Every claim of the token; a null-prototype object, so that no name is inherited. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** When the proof ends: seconds since the Unix epoch. */
  readonly expiresAt: number;
};

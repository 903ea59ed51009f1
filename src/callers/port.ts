import type { Caller } from '../model/caller.ts';
import type { Context } from '../model/context.ts';

/** What a transport found out about its peer; all of it unverified. */
export type Credentials = {
  /** The token of `Authorization: Bearer <token>`, without the scheme; undefined when absent. */
  readonly bearer: string | undefined;
};

/**
 * One kind of caller. `identify` answers `undefined` when the credentials are not of its kind, so that the next kind is
 * asked; a Caller when they are and hold; otherwise it throws `unauthenticated` (they do not hold) or `unavailable`
 * (it cannot tell: the issuer's keys are out of reach). Safe to call concurrently.
 */
export interface CallerKind {
  identify(credentials: Credentials, context: Context): Promise<Caller | undefined>;
}

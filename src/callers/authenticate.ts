import type { Caller } from '../model/caller.ts';
import type { Context } from '../model/context.ts';
import type { CallerKind, Credentials } from './port.ts';
import { unauthenticated } from './unauthenticated.ts';

/**
 * Asks each kind in turn who the caller is. Throws `unauthenticated` (`TOKEN_MISSING` when no kind knows these credentials)
 * or `unavailable`.
 */
export const authenticate = async (
  kinds: readonly CallerKind[],
  credentials: Credentials,
  context: Context,
): Promise<Caller> => {
  for (const kind of kinds) {
    const caller = await kind.identify(credentials, context);
    if (caller !== undefined) return caller;
  }
  throw unauthenticated(
    'TOKEN_MISSING',
    'No credentials were sent; send an OIDC token as "authorization: Bearer <token>".',
  );
};

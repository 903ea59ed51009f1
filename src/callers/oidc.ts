import { hash } from 'node:crypto';
import { compactVerify } from 'jose';
import type { Caller } from '../model/caller.ts';
import type { Context } from '../model/context.ts';
import type { HttpClient } from '../net/port.ts';
import { type CheckedClaims, checkClaims, checkTimes } from './claims.ts';
import { keySource } from './discovery.ts';
import { createKeyCache, type KeyCache } from './jwks.ts';
import { assertTokenLength, readJwt } from './jwt.ts';
import { fitsAlgorithm, type VerificationKey } from './key-set.ts';
import type { CallerKind } from './port.ts';
import type { CallerSettings, IssuerSettings } from './settings.ts';
import { createTokenCache } from './token-cache.ts';
import { quoted, unauthenticated } from './unauthenticated.ts';

type Issuer = { readonly settings: IssuerSettings; readonly keys: KeyCache };
type Verified = {
  readonly caller: Caller;
  readonly checked: CheckedClaims;
  readonly issuer: Issuer;
  readonly key: VerificationKey;
};

/** Callers with OIDC bearer tokens, and a way to fetch all keys before the first request. */
export type OidcCallers = CallerKind & {
  /** Fetches the keys of every issuer; answers the issuers whose keys could not be fetched, and why. Never rejects. */
  warm(context: Context): Promise<readonly { readonly issuer: string; readonly error: unknown }[]>;
};

/** The key that verifies the token's signature; throws when there is none. */
const verifySignature = async (
  token: string,
  algorithm: string,
  candidates: readonly VerificationKey[],
): Promise<VerificationKey> => {
  for (const key of candidates.filter((candidate) => fitsAlgorithm(candidate, algorithm))) {
    try {
      await compactVerify(token, key.publicKey, { algorithms: [algorithm] });
      return key;
    } catch {
      // Whatever jose objects to, the answer below is the same, and its words may quote the token.
    }
  }
  throw unauthenticated(
    'SIGNATURE_INVALID',
    "The token's signature does not verify with its issuer's key; request a new token.",
  );
};

/**
 * OIDC bearer tokens of several issuers, each matched by its exact `iss` (OpenID Connect Core 1.0 section 3.1.3.7, RFC 8725).
 * Verified tokens are kept by SHA-256 until they expire or their key is withdrawn. All network traffic goes through `http`.
 * `clock`: milliseconds since the Unix epoch; `monotonic`: milliseconds that never jump. Errors as in port.ts.
 */
export const createOidcCallers = (
  settings: CallerSettings,
  options: { readonly http: HttpClient; readonly clock?: () => number; readonly monotonic?: () => number },
): OidcCallers => {
  const { http, clock = Date.now, monotonic = () => performance.now() } = options;
  const issuers = new Map<string, Issuer>(
    settings.oidc.map((issuer) => [
      issuer.issuer,
      { settings: issuer, keys: createKeyCache(issuer.issuer, keySource(issuer, http), monotonic) },
    ]),
  );
  const verifiedTokens = createTokenCache<Verified>();

  const verify = async (token: string, context: Context): Promise<Verified> => {
    const { algorithm, keyId, claims } = readJwt(token);
    const issuer = typeof claims.iss === 'string' ? issuers.get(claims.iss) : undefined;
    if (issuer === undefined) {
      if (claims.iss === undefined)
        throw unauthenticated('CLAIM_MISSING', 'The token has no "iss" claim, which is required.');
      throw unauthenticated(
        'ISSUER_UNKNOWN',
        `The token's issuer ${quoted(claims.iss)} is not one that this service trusts.`,
      );
    }
    if (!issuer.settings.algorithms.some((accepted) => accepted === algorithm)) {
      throw unauthenticated(
        'ALGORITHM_REFUSED',
        `The token is signed with ${quoted(algorithm)}; of this issuer only ${issuer.settings.algorithms.join(', ')} is accepted.`,
      );
    }
    // Before any key is fetched, so that a hopeless token costs no request.
    const checked = checkClaims(claims, clock() / 1000, issuer.settings);
    const key = await verifySignature(token, algorithm, await issuer.keys.find(keyId, context));
    const caller: Caller = {
      kind: 'oidc',
      issuer: issuer.settings.issuer,
      subject: checked.subject,
      claims,
      expiresAt: checked.expiresAt,
    };
    return { caller, checked, issuer, key };
  };

  return {
    async identify({ bearer }, context) {
      if (bearer === undefined) return undefined;
      assertTokenLength(bearer);
      const id = hash('sha256', bearer, 'base64');
      const kept = verifiedTokens.get(id);
      if (kept?.issuer.keys.holds(kept.key)) {
        checkTimes(kept.checked, clock() / 1000, kept.issuer.settings);
        return kept.caller;
      }
      verifiedTokens.delete(id);
      const verified = await verify(bearer, context);
      verifiedTokens.set(id, verified, bearer.length);
      return verified.caller;
    },
    async warm(context) {
      const outcomes = await Promise.allSettled([...issuers.values()].map(({ keys }) => keys.warm(context)));
      return [...issuers.keys()].flatMap((issuer, index) => {
        const outcome = outcomes[index];
        return outcome?.status === 'rejected' ? [{ issuer, error: outcome.reason }] : [];
      });
    },
  };
};

import type { Context } from '../../model/context.ts';
import { CountersignError } from '../../model/error.ts';
import { credentialError } from './errors.ts';
import type { Credential } from './source.ts';
import { createRenewingCache } from '../renewing-cache.ts';

/** `lifetimeMs`: how long it is good for from now, milliseconds; absent: nobody knows. No credential: there is none. */
export type Issued = { readonly credential: Credential | undefined; readonly lifetimeMs?: number };

/** `key`: equal for equal requests; `host`: the registry, for messages; `anew`: what was given last was refused. */
export type IssuedAsked = { readonly key: string; readonly host: string; readonly anew: boolean };

/** Credentials that somebody has to be asked for. Safe to call concurrently. */
export type IssuedCredentials = {
  /**
   * The credential that is kept, or a new one. Rejects as `issue` does, or with `unavailable`, reason `REGISTRY_CREDENTIAL_UNAVAILABLE`,
   * when that takes too long.
   */
  get(
    asked: IssuedAsked,
    context: Context,
    issue: (context: Context) => Promise<Issued>,
  ): Promise<Credential | undefined>;
};

const maxKept = 1_000;
/** Of what says no time: kept so long, and renewed half way. */
const unknownMs = 600_000;
const noneMs = 60_000;
/** After a refusal, and of credentials that were refused: who gives them is asked again at most this often. */
const pauseMs = 5_000;

/**
 * What is issued is kept to nine tenths of its time, renewed behind the scenes after three quarters of it, and issued once at a time.
 * `timeoutMs`: the longest that issuing may take.
 */
export const createIssuedCredentials = (timeoutMs = 15_000): IssuedCredentials => {
  const cache = createRenewingCache<Credential | undefined>(maxKept, timeoutMs);
  const issuedAt = new Map<string, number>();
  const refusals = new Map<string, { readonly error: CountersignError; readonly until: number }>();

  const bounded = <T>(map: Map<string, T>, key: string, value: T): void => {
    map.delete(key);
    map.set(key, value);
    for (const oldest of map.keys()) {
      if (map.size <= maxKept) break;
      map.delete(oldest);
    }
  };

  return {
    get: async ({ key, host, anew }, context, issue) => {
      const refusal = refusals.get(key);
      if (refusal !== undefined && performance.now() < refusal.until) throw refusal.error;
      if (anew && performance.now() - (issuedAt.get(key) ?? Number.NEGATIVE_INFINITY) >= pauseMs) cache.drop(key);
      try {
        return await cache.get(key, context, async (shared) => {
          bounded(issuedAt, key, performance.now());
          const { credential, lifetimeMs = credential === undefined ? noneMs : unknownMs } = await issue(shared);
          refusals.delete(key);
          return {
            value: credential,
            keepMs: lifetimeMs * 0.9,
            renewMs: lifetimeMs * (credential === undefined ? 1 : 0.75),
          };
        });
      } catch (caught) {
        if (!(caught instanceof CountersignError)) throw caught;
        if (caught.code === 'failed_precondition') {
          bounded(refusals, key, { error: caught, until: performance.now() + pauseMs });
        }
        if (caught.code !== 'deadline_exceeded' || context.signal.aborted) throw caught;
        throw credentialError('REGISTRY_CREDENTIAL_UNAVAILABLE', host, 'who gives them did not answer in time', {
          passes: true,
          cause: caught,
        });
      }
    },
  };
};

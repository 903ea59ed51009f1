import { isDeepStrictEqual } from 'node:util';
import { assertLive, type Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import type { HttpClient, HttpResponse } from '../net/port.ts';
import { createCache } from './cache.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { isCredentialError } from './credentials/errors.ts';
import type { Credential, Credentials } from './credentials/source.ts';
import { accessDenied } from './errors.ts';
import { assertOwnRealm, checkRealm } from './realm.ts';
import { createRenewingCache, type Renewable } from './renewing-cache.ts';
import { type Actions, baseUrl, type Target } from './target.ts';
import { type Bearer, basicHeader, lateToken, readToken, tokenRequest } from './token-service.ts';

/**
 * Answers auth challenges and remembers the answers. Safe to call concurrently: one token exchange per token service, repository and
 * actions runs at a time, and tokens that are in use are exchanged anew before they end.
 */
export type Authenticator = {
  /**
   * The `Authorization` value that is known to work, if one is; no request is made unless a token must be renewed. Undefined too
   * when that fails: the registry is to be asked how to authenticate, since it may by now name another token service. Throws what
   * `credentials` throws, or when the context has ended.
   */
  known(target: Target, actions: Actions, context: Context): Promise<string | undefined>;
  /**
   * The `Authorization` value that answers a 401. `used` is what that request carried. Throws `failed_precondition`
   * (`REGISTRY_ACCESS_DENIED`, `AUTH_CHALLENGE_INVALID`, `AUTH_REALM_REFUSED`), or the failure of the token service or of `credentials`.
   */
  answer(
    target: Target,
    actions: Actions,
    challenge: string | undefined,
    used: string | undefined,
    context: Context,
  ): Promise<string>;
};

type Scheme = { readonly kind: 'basic' } | Bearer;

const exchangeTimeoutMs = 15_000;
/** Who comes later does not wait for an exchange that may hang, but begins another. */
const joinExchangeMs = 3_000;
/** After that, a registry is asked again how it wants to be authenticated to. */
const schemeMs = 60 * 60_000;
const maxExpirySeconds = 3_600;

/** Schemes and tokens are remembered in this process alone; `http` is not closed by it. */
export const createAuthenticator = (options: {
  readonly http: HttpClient;
  readonly credentials: Credentials;
  readonly plainHttpHosts: readonly string[];
  readonly allowPrivate?: readonly string[];
}): Authenticator => {
  const schemes = createCache<Scheme>(1_000);
  const tokens = createRenewingCache<string>(10_000, exchangeTimeoutMs, joinExchangeMs);

  const ask = async (
    scheme: Bearer,
    target: Target,
    actions: Actions,
    credential: Credential | undefined,
    context: Context,
  ): Promise<HttpResponse> => {
    if (credential?.ownRealm === true) assertOwnRealm(scheme.realm, new URL(baseUrl(target, options.plainHttpHosts)));
    return options.http.request(tokenRequest(scheme, target, actions, credential), context);
  };

  const exchange = async (
    scheme: Bearer,
    target: Target,
    actions: Actions,
    context: Context,
  ): Promise<Renewable<string>> => {
    const credential = await options.credentials(target.registry, context);
    if (credential?.kind === 'registry-token') return { value: `Bearer ${credential.token}`, keepMs: 0, renewMs: 0 };
    let response = await ask(scheme, target, actions, credential, context);
    if (response.status === 401 && credential !== undefined) {
      const newer = await options.credentials(target.registry, context, credential);
      if (newer !== undefined && newer.kind !== 'registry-token' && !isDeepStrictEqual(newer, credential)) {
        response = await ask(scheme, target, actions, newer, context);
      }
    }
    const { token, expiresIn } = readToken(response, target.registry, scheme.realm.host);
    // Given up a tenth early, so that a token does not end on its way.
    const keepMs = Math.max(0, Math.min(expiresIn, maxExpirySeconds) * 900);
    return { value: `Bearer ${token}`, keepMs, renewMs: keepMs * 0.8 };
  };

  const authorize = async (
    scheme: Scheme,
    target: Target,
    actions: Actions,
    context: Context,
    refused?: string,
  ): Promise<string> => {
    if (scheme.kind === 'bearer') {
      try {
        return await tokens.get(tokenKey(scheme, target, actions), context, (shared) =>
          exchange(scheme, target, actions, shared),
        );
      } catch (error) {
        if (isCredentialError(error)) throw error;
        // A registry that names another token service by then must be heard.
        if (schemes.get(target.registry) === scheme) schemes.delete(target.registry);
        throw context.signal.aborted ? error : lateToken(error, scheme.realm.host);
      }
    }
    let credential = await options.credentials(target.registry, context);
    if (credential?.kind === 'basic' && basicHeader(credential) === refused) {
      credential = await options.credentials(target.registry, context, credential);
    }
    if (credential?.kind !== 'basic')
      throw accessDenied(target, 'it wants a user name and password, and none is configured');
    return basicHeader(credential);
  };

  return {
    known: async (target, actions, context) => {
      const scheme = schemes.get(target.registry);
      if (scheme === undefined) return undefined;
      if (scheme.kind === 'basic') {
        const credential = await options.credentials(target.registry, context);
        // What the registry lets everybody do needs no credentials.
        if (credential === undefined) return undefined;
        return authorize(scheme, target, actions, context);
      }
      if (actions === 'pull' && tokens.held(tokenKey(scheme, target, 'pull')) === undefined) {
        // A token that may push may pull as well.
        const held = tokens.held(tokenKey(scheme, target, 'pull,push'));
        if (held !== undefined) return held;
      }
      try {
        return await authorize(scheme, target, actions, context);
      } catch (error) {
        if (isCredentialError(error)) throw error;
        assertLive(context);
        return undefined;
      }
    },
    answer: async (target, actions, challenge, used, context) => {
      const scheme = chooseScheme(challenge, target, options);
      schemes.set(target.registry, scheme, schemeMs);
      if (scheme.kind === 'bearer') {
        const key = tokenKey(scheme, target, actions);
        const current = tokens.held(key);
        // Another request may have renewed the token meanwhile.
        if (current !== undefined && current !== used) return current;
        tokens.drop(key);
      }
      const answer = await authorize(scheme, target, actions, context, used);
      if (answer === used) throw accessDenied(target, 'it refused the configured credentials');
      return answer;
    },
  };
};

const tokenKey = ({ realm, service }: Bearer, { registry, repository }: Target, actions: Actions): string =>
  JSON.stringify([registry, repository, actions, realm.href, service]);

const chooseScheme = (
  header: string | undefined,
  target: Target,
  egress: { readonly plainHttpHosts: readonly string[]; readonly allowPrivate?: readonly string[] },
): Scheme => {
  if (header === undefined) throw accessDenied(target, 'it answered 401 without saying how to authenticate');
  const challenges = parseChallenges(header);
  if (challenges === undefined) throw badChallenge(target, 'is malformed');
  const find = (scheme: string): Challenge | undefined => challenges.find((challenge) => challenge.scheme === scheme);
  const bearer = find('bearer');
  if (bearer !== undefined) {
    const realm = bearer.parameters.get('realm');
    if (realm === undefined) throw badChallenge(target, 'names no realm');
    const { plainHttpHosts, allowPrivate } = egress;
    const url = checkRealm(realm, new URL(baseUrl(target, plainHttpHosts)), plainHttpHosts, allowPrivate);
    return { kind: 'bearer', realm: url, service: bearer.parameters.get('service') ?? '' };
  }
  if (find('basic') !== undefined) return { kind: 'basic' };
  throw badChallenge(target, 'offers neither Basic nor Bearer');
};

const badChallenge = (target: Target, what: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'AUTH_CHALLENGE_INVALID',
    `Registry ${target.registry} asks for authentication in a way that cannot be answered: its challenge ${what}.`,
    { metadata: { registry: target.registry } },
  );

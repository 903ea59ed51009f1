import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import { defaultRetryAfterMs } from '../net/errors.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/port.ts';
import { parseRetryAfter } from '../net/retry.ts';
import { createCache } from './cache.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { Credential, Credentials } from './credential-source.ts';
import { accessDenied } from './errors.ts';
import { assertOwnRealm, checkRealm } from './realm.ts';
import { createRenewingCache, type Renewable } from './renewing-cache.ts';
import { type Actions, baseUrl, type Target } from './target.ts';

/**
 * Answers auth challenges and remembers the answers. Safe to call concurrently: one token exchange per registry, repository and
 * actions runs at a time, and tokens that are in use are exchanged anew before they end.
 */
export type Authenticator = {
  /** The `Authorization` value that is known to work, if one is; no request is made unless a token must be renewed. */
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

type Bearer = { readonly kind: 'bearer'; readonly realm: URL; readonly service: string };
type Scheme = { readonly kind: 'basic' } | Bearer;

const maxTokenBytes = 64 * 1024;
const exchangeTimeoutMs = 15_000;
/** distribution, "Token Authentication Specification": 60 seconds when the service does not say. */
const defaultExpirySeconds = 60;
const maxExpirySeconds = 3_600;

/** Schemes and tokens are remembered in this process alone; `http` is not closed by it. */
export const createAuthenticator = (options: {
  readonly http: HttpClient;
  readonly credentials: Credentials;
  readonly plainHttpHosts: readonly string[];
  readonly allowPrivate?: readonly string[];
}): Authenticator => {
  const schemes = createCache<Scheme>(1_000);
  const tokens = createRenewingCache<string>(10_000, exchangeTimeoutMs);

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
      return tokens.get(tokenKey(target, actions), context, (shared) => exchange(scheme, target, actions, shared));
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
      } else if (actions === 'pull' && tokens.held(tokenKey(target, 'pull')) === undefined) {
        // A token that may push may pull as well.
        const held = tokens.held(tokenKey(target, 'pull,push'));
        if (held !== undefined) return held;
      }
      return authorize(scheme, target, actions, context);
    },
    answer: async (target, actions, challenge, used, context) => {
      const scheme = chooseScheme(challenge, target, options);
      schemes.set(target.registry, scheme);
      const key = tokenKey(target, actions);
      const current = tokens.held(key);
      // Another request may have renewed the token meanwhile.
      if (current !== undefined && current !== used) return current;
      tokens.drop(key);
      const answer = await authorize(scheme, target, actions, context, used);
      if (answer === used) throw accessDenied(target, 'it refused the configured credentials');
      return answer;
    },
  };
};

const tokenKey = (target: Target, actions: Actions): string => `${target.registry}/${target.repository} ${actions}`;

const basicHeader = (credential: Credential & { kind: 'basic' }): string =>
  `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;

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

// The scope is what we need and no more, whatever the challenge says.
const tokenRequest = (
  scheme: Bearer,
  target: Target,
  actions: Actions,
  credential: Credential | undefined,
): HttpRequest => {
  const scope = `repository:${target.repository}:${actions}`;
  if (credential?.kind === 'identity-token') {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: credential.token,
      service: scheme.service,
      scope,
      client_id: 'countersign',
    });
    return {
      method: 'POST',
      url: scheme.realm.href,
      headers: { accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' },
      body: Buffer.from(form.toString()),
      maxBytes: maxTokenBytes,
    };
  }
  const url = new URL(scheme.realm);
  if (scheme.service !== '') url.searchParams.set('service', scheme.service);
  url.searchParams.set('scope', scope);
  const headers = { accept: 'application/json' };
  return {
    method: 'GET',
    url: url.href,
    headers: credential?.kind === 'basic' ? { ...headers, authorization: basicHeader(credential) } : headers,
    maxBytes: maxTokenBytes,
  };
};

const tokenResponse = z.looseObject({
  token: z.string().optional(),
  access_token: z.string().optional(),
  expires_in: z.number().optional(),
});

const readToken = (response: HttpResponse, registry: string, realm: string): { token: string; expiresIn: number } => {
  const { status } = response;
  const metadata = { registry, realm, status: String(status) };
  const where = `The token service ${realm} of registry ${registry}`;
  if (status === 429) {
    const retryAfterMs = parseRetryAfter(response.headers['retry-after'], new Date()) ?? 1_000;
    throw new CountersignError('resource_exhausted', 'REGISTRY_THROTTLED', `${where} is throttling; try again later.`, {
      metadata,
      retryAfterMs,
    });
  }
  if (status >= 500) {
    const retryAfterMs = parseRetryAfter(response.headers['retry-after'], new Date()) ?? defaultRetryAfterMs;
    throw new CountersignError('unavailable', 'REGISTRY_UNAVAILABLE', `${where} answered ${status}.`, {
      metadata,
      retryAfterMs,
    });
  }
  if (status !== 200) {
    throw new CountersignError(
      'failed_precondition',
      'REGISTRY_ACCESS_DENIED',
      `${where} gave no token (status ${status}); check the credentials that are configured for ${registry}.`,
      { metadata },
    );
  }
  const parsed = tokenResponse.safeParse(parseJson(response.body));
  const token = parsed.success ? parsed.data.token || parsed.data.access_token : undefined;
  // A token goes into a header: visible ASCII only.
  if (!parsed.success || token === undefined || !/^[\x21-\x7e]+$/.test(token)) {
    throw new CountersignError(
      'unavailable',
      'TOKEN_RESPONSE_INVALID',
      `${where} answered with something that is no token.`,
      {
        metadata,
      },
    );
  }
  return { token, expiresIn: parsed.data.expires_in ?? defaultExpirySeconds };
};

const parseJson = (body: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
};

const badChallenge = (target: Target, what: string): CountersignError =>
  new CountersignError(
    'failed_precondition',
    'AUTH_CHALLENGE_INVALID',
    `Registry ${target.registry} asks for authentication in a way that cannot be answered: its challenge ${what}.`,
    { metadata: { registry: target.registry } },
  );

import { z } from 'zod';
import { CountersignError } from '../model/error.ts';
import { defaultRetryAfterMs } from '../net/errors.ts';
import type { HttpRequest, HttpResponse } from '../net/port.ts';
import { parseRetryAfter } from '../net/retry.ts';
import type { Credential } from './credentials/source.ts';
import type { Actions, Target } from './target.ts';

/** The token service that a registry names. */
export type Bearer = { readonly kind: 'bearer'; readonly realm: URL; readonly service: string };

const maxTokenBytes = 64 * 1024;
/** distribution, "Token Authentication Specification": 60 seconds when the service does not say. */
const defaultExpirySeconds = 60;

/** The `Authorization` value of a user name and password. */
export const basicHeader = (credential: Credential & { kind: 'basic' }): string =>
  `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;

/** Asks for a token. The scope is what we need and no more, whatever the challenge says. */
export const tokenRequest = (
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

/**
 * The token of an answer, and how many seconds it lives. Throws `resource_exhausted` (429), `unavailable` (5xx; reason
 * `TOKEN_RESPONSE_INVALID`: no token), or `failed_precondition`, reason `REGISTRY_ACCESS_DENIED`.
 */
export const readToken = (
  response: HttpResponse,
  registry: string,
  realm: string,
): { token: string; expiresIn: number } => {
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

/** The deadline of an exchange, which is not that of the request -> `unavailable`; other errors stay what they are. */
export const lateToken = (error: unknown, realm: string): unknown =>
  error instanceof CountersignError && ['deadline_exceeded', 'cancelled'].includes(error.code)
    ? new CountersignError('unavailable', 'RESPONSE_TIMEOUT', `Token service ${realm} did not answer in time.`, {
        metadata: { realm },
        retryAfterMs: defaultRetryAfterMs,
        cause: error,
      })
    : error;

import nodeVault from 'node-vault';
import type { Context } from '../../model/context.ts';
import { CountersignError } from '../../model/error.ts';
import type { HttpClient } from '../../net/port.ts';
import { withRetry } from '../../net/retry.ts';
import { vaultError, vaultGarbage, vaultNetworkError } from './errors.ts';

/** Vault's HTTP API as far as keys need it. Answers are parsed JSON, unchecked. */
export type VaultClient = {
  /** `host[:port]`, for messages. */
  readonly host: string;
  /** GET `/v1/<path>`. Errors as `vaultError`; transient ones are tried up to three times within the deadline. */
  read(path: string, token: string, context: Context): Promise<unknown>;
  /** POST `/v1/<path>`, one attempt; `token` is undefined for a login. Errors as `read`. */
  write(path: string, body: object, token: string | undefined, context: Context): Promise<unknown>;
  /** GET `/v1/sys/seal-status`, which needs no token and is asked of the root namespace; one attempt. Errors as `read`. */
  sealStatus(context: Context): Promise<unknown>;
  close(): Promise<void>;
};

/** What node-vault hands to its transport. */
type TransportRequest = {
  readonly uri: string;
  readonly method: 'GET' | 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly json?: object;
  readonly context: Context;
};

/** Within a request, that is; a sealed Vault stays sealed for longer. */
const mayPassSoon = (error: unknown): boolean =>
  error instanceof CountersignError && error.retryAfterMs !== undefined && error.reason !== 'KEY_SEALED';

/** Up to three tries of what fails in a way that may pass, within the deadline: for reading and logins. */
export const triedAgain = <T>(operation: () => Promise<T>, context: Context): Promise<T> =>
  withRetry(operation, { tries: 3, context, baseMs: 50, retryable: mayPassSoon });

const maxAnswerBytes = 4 * 1024 * 1024;

const parseJson = (body: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    return undefined;
  }
};

/**
 * Wraps node-vault on the outbound client. Its own transport (axios) is not used: that follows redirects with the token,
 * reads proxies and VAULT_SKIP_VERIFY from the environment, cannot be aborted, and hides Retry-After. Nor are its
 * mutable token, its defaults from the environment, and its debug output, which prints tokens.
 */
export const createVaultClient = (http: HttpClient, address: string, namespace: string | undefined): VaultClient => {
  const { origin, host } = new URL(address);

  const transport = async ({ uri, method, headers, json, context }: TransportRequest) => {
    const request = { url: uri, method, headers, maxBytes: maxAnswerBytes };
    const body = json === undefined ? {} : { body: Buffer.from(JSON.stringify(json)) };
    const response = await http.request({ ...request, ...body }, context).catch((caught: unknown) => {
      throw vaultNetworkError(caught);
    });
    const parsed = parseJson(response.body);
    if (response.status !== 200 && response.status !== 204) throw vaultError(host, response, parsed);
    if (response.status === 200 && parsed === undefined) throw vaultGarbage(host, 'no JSON');
    return { statusCode: response.status, body: parsed, request: { path: new URL(uri).pathname } };
  };

  const vault = nodeVault({
    endpoint: origin,
    debug: () => undefined,
    'request-promise': { defaults: () => transport },
  });
  Object.assign(vault, { token: '', namespace: namespace ?? '', pathPrefix: '' });

  const headers = (token: string | undefined): Record<string, string> => ({
    'content-type': 'application/json',
    'x-vault-request': 'true',
    ...(token === undefined ? {} : { 'X-Vault-Token': token }),
  });
  return {
    host,
    read: (path, token, context) => triedAgain(() => vault.read(path, { headers: headers(token), context }), context),
    write: (path, body, token, context) => vault.write(path, body, { headers: headers(token), context }),
    sealStatus: async (context) => {
      const request = {
        uri: `${origin}/v1/sys/seal-status`,
        method: 'GET',
        headers: headers(undefined),
        context,
      } as const;
      return (await transport(request)).body;
    },
    close: () => http.close(),
  };
};

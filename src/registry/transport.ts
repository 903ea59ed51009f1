import type { Context } from '../model/context.ts';
import type { HttpClient, HttpRequest, HttpResponse } from '../net/port.ts';
import { withRetry } from '../net/retry.ts';
import { createRetryBudget, type RetryBudget } from '../net/retry-budget.ts';
import type { AllowList } from './allow-list.ts';
import type { Authenticator } from './auth.ts';
import { createCache } from './cache.ts';
import { type Actions, baseUrl, type Target } from './target.ts';

/** A request to one repository: `path` is below `/v2/<repository>/`, or `url` is absolute. */
export type RegistryRequest = Omit<HttpRequest, 'url' | 'headers'> & {
  readonly headers?: Readonly<Record<string, string>>;
} & ({ readonly path: string } | { readonly url: string });

/** Authenticated requests to registries. */
export type Transport = {
  /**
   * Sends once; answers one auth challenge. Resolves with any status. Nothing is sent to a repository that the allow-list does
   * not have (`permission_denied`, reason `REGISTRY_NOT_ALLOWED`), and no credentials to another origin than the registry's.
   */
  send(target: Target, actions: Actions, request: RegistryRequest, context: Context): Promise<HttpResponse>;
  /** Runs something idempotent as often as the settings allow, and as the retries that all requests to one registry share. */
  retried<T>(target: Target, context: Context, operation: () => Promise<T>): Promise<T>;
  /** For retries that are made otherwise: may there be one more to that registry? Each true answer uses it up. */
  mayRetry(target: Target): boolean;
  /** The absolute URL of a path below the repository. */
  url(target: Target, path: string): URL;
};

/** Registries whose retries are counted. */
const maxRegistries = 1_000;

export const createTransport = (options: {
  readonly http: HttpClient;
  readonly authenticator: Authenticator;
  readonly allowList: AllowList;
  readonly plainHttpHosts: readonly string[];
  readonly tries: number;
}): Transport => {
  const url = (target: Target, path: string): URL =>
    new URL(`${target.repository}/${path}`, baseUrl(target, options.plainHttpHosts));

  const budgets = createCache<RetryBudget>(maxRegistries);
  const budgetOf = ({ registry }: Target): RetryBudget => {
    const known = budgets.get(registry);
    if (known !== undefined) return known;
    const budget = createRetryBudget();
    budgets.set(registry, budget);
    return budget;
  };

  const send = async (
    target: Target,
    actions: Actions,
    request: RegistryRequest,
    context: Context,
  ): Promise<HttpResponse> => {
    options.allowList.check(target);
    const { headers, ...rest } = request;
    const address = 'url' in request ? request.url : url(target, request.path).href;
    const attempt = (authorization: string | undefined): Promise<HttpResponse> =>
      options.http.request(
        {
          ...rest,
          url: address,
          headers: authorization === undefined ? { ...headers } : { ...headers, authorization },
        },
        context,
      );
    if ('url' in request && new URL(address).origin !== url(target, '').origin) return attempt(undefined);
    const known = await options.authenticator.known(target, actions, context);
    const response = await attempt(known);
    if (response.status !== 401) return response;
    const challenge = response.headers['www-authenticate'];
    // A redirect may have led elsewhere: only the registry itself may ask for its credentials.
    if (new URL(response.url).origin !== new URL(address).origin) return response;
    return attempt(await options.authenticator.answer(target, actions, challenge, known, context));
  };

  return {
    send,
    url,
    mayRetry: (target) => budgetOf(target).withdraw(),
    retried: (target, context, operation) => {
      const budget = budgetOf(target);
      budget.deposited();
      return withRetry(operation, { tries: options.tries, context, budget });
    },
  };
};

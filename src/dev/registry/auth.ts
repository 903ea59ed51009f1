import { randomBytes } from 'node:crypto';
import type { Exchange } from './exchange.ts';

/** How the embedded registry wants its clients to prove who they are. */
export type RegistryAuth =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** Tokens from `/token` on the registry itself, for whoever gives the user name and password. */
  | {
      readonly kind: 'bearer';
      readonly username: string;
      readonly password: string;
      /** Also accepted there, by POST with `grant_type=refresh_token`. */
      readonly identityToken?: string;
      /** Default: 300. */
      readonly expiresInSeconds?: number;
    };

export type Gate = {
  /** Answers a request that may not pass, and says so. */
  admits(exchange: Exchange, host: string, repository: string, push: boolean): boolean;
  /** The token service; answers 404 when there is none. */
  serveToken(exchange: Exchange): Promise<void>;
};

type Token = { readonly scopes: readonly string[]; readonly until: number };

export const createGate = (auth: RegistryAuth | undefined): Gate => {
  const tokens = new Map<string, Token>();
  const basic = auth && `Basic ${Buffer.from(`${auth.username}:${auth.password}`).toString('base64')}`;

  const bearerAdmits = (header: string, repository: string, push: boolean): boolean => {
    const token = tokens.get(header.replace(/^Bearer /i, ''));
    if (token === undefined || token.until <= performance.now()) return false;
    if (repository === '') return true;
    return token.scopes.some((scope) => {
      const [type, name, actions] = scope.split(':');
      return (
        type === 'repository' && name === repository && (actions ?? '').split(',').includes(push ? 'push' : 'pull')
      );
    });
  };

  return {
    admits: (exchange, host, repository, push) => {
      const header = exchange.request.headers.authorization ?? '';
      if (auth === undefined) return true;
      if (auth.kind === 'basic' ? header === basic : bearerAdmits(header, repository, push)) return true;
      const scope = repository === '' ? '' : `,scope="repository:${repository}:${push ? 'pull,push' : 'pull'}"`;
      exchange.refuse(401, 'UNAUTHORIZED', 'authentication required', {
        'www-authenticate':
          auth.kind === 'basic'
            ? 'Basic realm="countersign dev registry"'
            : `Bearer realm="http://${host}/token",service="${host}"${scope}`,
      });
      return false;
    },
    serveToken: async (exchange) => {
      if (auth?.kind !== 'bearer') {
        exchange.refuse(404, 'NOT_FOUND', 'no such page');
        return;
      }
      const form = new URLSearchParams(exchange.method === 'POST' ? (await exchange.body(16_384)).toString() : '');
      const known =
        exchange.request.headers.authorization === basic ||
        (auth.identityToken !== undefined && form.get('refresh_token') === auth.identityToken);
      if (!known) {
        exchange.refuse(401, 'UNAUTHORIZED', 'wrong user name or password');
        return;
      }
      const scopes = [...exchange.url.searchParams.getAll('scope'), ...form.getAll('scope')];
      const expiresIn = auth.expiresInSeconds ?? 300;
      const token = randomBytes(24).toString('base64url');
      tokens.set(token, { scopes, until: performance.now() + expiresIn * 1_000 });
      exchange.answer(
        200,
        { 'content-type': 'application/json' },
        JSON.stringify({ token, access_token: token, expires_in: expiresIn }),
      );
    },
  };
};

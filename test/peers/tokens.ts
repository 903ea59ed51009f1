// A token server for a registry, as the distribution project describes it: basic credentials in, a short JWT out.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface TokenServer {
  readonly realm: string;
  readonly service: string;
  /** Every scope that was asked for, in order; '' for a request without one. */
  readonly scopes: readonly string[];
  /** Writes the JWKS into a folder and returns distribution's `auth.token` section. */
  trust(folder: string): object;
  stop(): Promise<void>;
}

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

const lifetimeSeconds = 300;

/** With the credentials everything asked for is granted; without any, nothing is; with wrong ones the answer is 401. */
export async function startTokenServer(credentials: Credentials): Promise<TokenServer> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = randomUUID();
  const issuer = 'countersign-test';
  const service = 'countersign-test-registry';
  const known = `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`;
  const scopes: string[] = [];

  const token = (access: readonly Access[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: issuer,
      sub: credentials.username,
      aud: service,
      nbf: now - 10,
      iat: now,
      exp: now + lifetimeSeconds,
    };
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const signed = `${part({ typ: 'JWT', alg: 'ES256', kid })}.${part({ ...claims, jti: randomUUID(), access })}`;
    return `${signed}.${sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
  };

  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '/', 'http://127.0.0.1').searchParams
      .getAll('scope')
      .flatMap((scope) => scope.split(' '));
    const given = request.headers.authorization;
    const reply = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    if (request.method !== 'GET') return reply(405, {});
    if (given !== undefined && given !== known) return reply(401, { errors: [{ code: 'UNAUTHORIZED' }] });
    scopes.push(...(asked.length > 0 ? asked : ['']));
    const jwt = token(given === undefined ? [] : asked.flatMap(parseScope));
    reply(200, { token: jwt, access_token: jwt, expires_in: lifetimeSeconds, issued_at: new Date().toISOString() });
  });
  server.listen(0, '127.0.0.1').unref();
  await once(server, 'listening');
  const realm = `http://127.0.0.1:${(server.address() as AddressInfo).port}/token`;

  return {
    realm,
    service,
    scopes,
    trust: (folder) => {
      const jwks = join(folder, 'jwks.json');
      const key = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' };
      writeFileSync(jwks, JSON.stringify({ keys: [key] }));
      return { realm, service, issuer, jwks };
    },
    stop: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** `repository:acme/app:pull,push`; the name itself may hold colons. */
function parseScope(scope: string): Access[] {
  const [, type, name, actions] = /^([^:]+):(.+):([^:]+)$/.exec(scope) ?? [];
  return type === undefined || name === undefined || actions === undefined
    ? []
    : [{ type, name, actions: actions.split(',') }];
}

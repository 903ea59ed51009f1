import { generateKeyPair, type KeyObject, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { exportJWK, type JWK, SignJWT } from 'jose';
import type { Claims } from './claims.ts';

export { type Claims, githubClaims, gitlabClaims, kubernetesClaims } from './claims.ts';

/** How the issuer misbehaves: answers late, with 500, not at all (connections are cut), 300 MB, or with a redirect. */
export type IssuerFault = 'none' | 'slow' | 'hang' | 'error' | 'down' | 'huge' | 'redirect';

export type MintOptions = {
  readonly algorithm?: 'RS256' | 'ES256';
  /** Seconds from now until `exp`; default 300. */
  readonly expiresIn?: number;
  /** Protected headers to add or, with undefined, to leave out. */
  readonly header?: Readonly<Record<string, unknown>>;
  /** `retired`: sign with the keys before the last `rotate`. */
  readonly keys?: 'current' | 'retired';
};

export type Issuer = {
  /** `http://127.0.0.1:<port>` */
  readonly issuer: string;
  /** Method and path of every request that came in, in order. */
  readonly requests: readonly string[];
  /** A signed token with `iss`, `aud`, `iat`, `nbf`, `exp`, `jti` and these claims; a claim that is undefined is left out. */
  mint(claims: Claims, options?: MintOptions): Promise<string>;
  /** New keys; the old ones are no longer published. */
  rotate(): Promise<void>;
  fault(fault: IssuerFault, delayMs?: number): void;
  close(): Promise<void>;
};

type SigningKey = {
  readonly algorithm: 'RS256' | 'ES256';
  readonly keyId: string;
  readonly privateKey: KeyObject;
  readonly jwk: JWK;
};

const generate = promisify(generateKeyPair);

const makeKeys = async (generation: number): Promise<readonly SigningKey[]> => {
  const pairs = await Promise.all([generate('rsa', { modulusLength: 2048 }), generate('ec', { namedCurve: 'P-256' })]);
  return Promise.all(
    pairs.map(async ({ publicKey, privateKey }, index) => {
      const algorithm = index === 0 ? 'RS256' : 'ES256';
      const keyId = `${algorithm.toLowerCase()}-${generation}`;
      return {
        algorithm,
        keyId,
        privateKey,
        jwk: { ...(await exportJWK(publicKey)), kid: keyId, alg: algorithm, use: 'sig' },
      };
    }),
  );
};

const chunk = Buffer.alloc(1024 * 1024, 0x20);
const flood = (response: ServerResponse, left = 300): void => {
  if (response.destroyed) return;
  if (left === 0) response.end();
  else if (response.write(chunk)) setImmediate(flood, response, left - 1);
  else response.once('drain', () => flood(response, left - 1));
};

/**
 * Starts an OIDC issuer on loopback: discovery, a JWK set with one RS256 and one ES256 key, and `mint`. Only for development,
 * the demo and tests: it signs whatever it is asked to.
 */
export const startIssuer = async (
  options: { readonly audience?: string; readonly port?: number } = {},
): Promise<Issuer> => {
  let generation = 1;
  let current = await makeKeys(generation);
  let retired: readonly SigningKey[] = [];
  let fault: IssuerFault = 'none';
  let delay = 0;
  const requests: string[] = [];

  const answer = (path: string | undefined, response: ServerResponse): void => {
    const documents: Record<string, unknown> = {
      '/.well-known/openid-configuration': {
        issuer,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256', 'ES256'],
      },
      '/jwks': { keys: current.map(({ jwk }) => jwk) },
    };
    const document = path === undefined || !Object.hasOwn(documents, path) ? undefined : documents[path];
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document ?? { error: 'not_found' }));
  };

  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    if (fault === 'down') request.socket.destroy();
    else if (fault === 'error') response.writeHead(500).end('out of order');
    else if (fault === 'redirect') response.writeHead(302, { location: `${issuer}/elsewhere` }).end();
    else if (fault === 'huge') flood(response.writeHead(200, { 'content-type': 'application/json' }));
    else if (fault === 'slow') setTimeout(answer, delay, request.url, response);
    else if (fault !== 'hang') answer(request.url, response);
  });
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    issuer,
    requests,
    async mint(claims, { algorithm = 'RS256', expiresIn = 300, header = {}, keys = 'current' } = {}) {
      const key = (keys === 'current' ? current : retired).find((candidate) => candidate.algorithm === algorithm);
      if (key === undefined) throw new Error(`there is no ${keys} key for ${algorithm}`);
      const now = Math.floor(Date.now() / 1000);
      const times = { iat: now, nbf: now, exp: now + expiresIn };
      return new SignJWT({
        iss: issuer,
        aud: options.audience ?? 'countersign',
        jti: randomUUID(),
        ...times,
        ...claims,
      })
        .setProtectedHeader({ alg: algorithm, kid: key.keyId, typ: 'JWT', ...header })
        .sign(key.privateKey);
    },
    async rotate() {
      generation += 1;
      retired = current;
      current = await makeKeys(generation);
    },
    fault(next, delayMs = 300) {
      fault = next;
      delay = delayMs;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

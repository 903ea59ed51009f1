import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOidcCallers, type OidcCallers } from '../../src/callers/oidc.ts';
import { callerSettings } from '../../src/callers/settings.ts';
import { openContext } from '../../src/model/context.ts';
import type { HttpClient } from '../../src/net/port.ts';

export const issuer = 'https://issuer.example';
export const audience = 'countersign.example';
/** Seconds since the Unix epoch: when these tests happen. */
export const now = 1_800_000_000;

export const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });

export const jwk = (key: KeyObject, more: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  ...key.export({ format: 'jwk' }),
  ...more,
});

export const goodHeader = { alg: 'ES256', kid: 'ec', typ: 'JWT' };
export const goodClaims = {
  iss: issuer,
  sub: 'repo:acme/app',
  aud: audience,
  iat: now - 10,
  nbf: now - 10,
  exp: now + 290,
  jti: 'one',
};

const b64 = (content: string | Uint8Array): string => Buffer.from(content).toString('base64url');

export const es256 = (input: string, key: KeyObject = ec.privateKey): Buffer =>
  sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });

/** A signed token of any header and payload; texts are taken as they are, undefined claims are left out. */
export const forge = (
  header: unknown = goodHeader,
  payload: unknown = goodClaims,
  signer: (input: string) => Uint8Array = (input) => es256(input),
): string => {
  const text = (part: unknown): string | Uint8Array =>
    typeof part === 'string' || part instanceof Uint8Array ? part : JSON.stringify(part);
  const input = `${b64(text(header))}.${b64(text(payload))}`;
  return `${input}.${b64(signer(input))}`;
};

export const withClaims = (claims: Readonly<Record<string, unknown>>): string =>
  forge(goodHeader, { ...goodClaims, ...claims });
export const withHeader = (header: Readonly<Record<string, unknown>>): string => forge({ ...goodHeader, ...header });

const folder = mkdtempSync(join(tmpdir(), 'callers-'));
let files = 0;

/** Callers whose one issuer has its keys in a file, and the outbound requests that they made: there should be none. */
export const pinnedCallers = (
  keys: readonly unknown[] = [
    jwk(ec.publicKey, { kid: 'ec', alg: 'ES256', use: 'sig' }),
    jwk(rsa.publicKey, { kid: 'rsa' }),
  ],
  settings: Readonly<Record<string, unknown>> = {},
): {
  callers: OidcCallers;
  outbound: string[];
  time: { seconds: number };
  identify(token: string): Promise<unknown>;
} => {
  const file = join(folder, `${files++}.json`);
  writeFileSync(file, JSON.stringify({ keys }));
  const outbound: string[] = [];
  const http: HttpClient = {
    request: ({ url }) => {
      outbound.push(url);
      return Promise.reject(new Error('no network here'));
    },
    close: () => Promise.resolve(),
  };
  const time = { seconds: now };
  const callers = createOidcCallers(
    callerSettings.parse({ oidc: [{ issuer, audience, jwks: { file }, ...settings }] }),
    {
      http,
      clock: () => time.seconds * 1000,
      monotonic: () => time.seconds * 1000,
    },
  );
  const identify = (token: string) => callers.identify({ bearer: token }, openContext('test', 5000).context);
  return { callers, outbound, time, identify };
};

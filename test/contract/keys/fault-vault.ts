// Vault behind the scripted proxy, the real one or ours, and the table of what it says when it refuses.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { openKeyring } from '../../../src/keys/keyring.ts';
import { keySettings } from '../../../src/keys/settings.ts';
import { alike, type FaultWorld, mayPass, refusedFor, type Row, unusable } from './fault-ask.ts';
import { type FaultSubject, faultContract } from './fault-contract.ts';
import { httpGarbage, page, quoted } from './fault-http.ts';
import { type Asked, type HttpAnswer, type HttpRefusal, startHttpProxy } from './fault-proxy.ts';
import { changed, type Json, type Leg } from './fault-script.ts';

export type VaultBackend = {
  readonly address: string;
  readonly token: string;
  /** What the proxy sends in place of the token; default: the token. */
  readonly ownToken?: string;
  /** A transit key of type ecdsa-p256 with one version. */
  readonly key: string;
  /** PEM. */
  readonly publicKey: string;
};

const said = (status: number, ...errors: readonly string[]): HttpAnswer => ({ status, body: { errors } });
const throttled = { code: 'resource_exhausted', reason: 'KEY_THROTTLED' } as const;
/** `Retry-After` is longer than the request may take. */
const notNow = { ...throttled, attempts: 1 };

/**
 * Statuses: developer.hashicorp.com/vault/api-docs, "HTTP status codes", and api-docs/system/health for 429, 472, 473, 501 and
 * 503, which load balancers pass on. Words: builtin/logical/transit (path_sign_verify.go, sdk/helper/keysutil/policy.go) and
 * http/handler.go, vault/request_handling.go of hashicorp/vault 1.21.
 */
const table: readonly Row<HttpRefusal>[] = [
  {
    name: '400 signing key not found',
    refusal: said(400, 'signing key not found'),
    expected: refusedFor('KEY_NOT_FOUND'),
  },
  {
    name: '400 version below the minimum',
    refusal: said(400, 'requested version for signing is less than the minimum encryption key version'),
    expected: refusedFor('KEY_DISABLED'),
  },
  {
    name: '500 version below the minimum, as Vault 1.21 has it',
    refusal: said(
      500,
      '1 error occurred:\n\t* requested version for signing is less than the minimum encryption key version',
    ),
    expected: refusedFor('KEY_DISABLED'),
  },
  {
    name: '400 a key that cannot sign',
    refusal: said(400, 'key type aes256-gcm96 does not support signing'),
    expected: refusedFor('KEY_UNSUPPORTED'),
  },
  { name: '400 of another reason', refusal: said(400, 'invalid request'), expected: refusedFor('KEY_REQUEST_REFUSED') },
  {
    name: '403 permission denied',
    refusal: said(403, '1 error occurred:\n\t* permission denied\n\n'),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  {
    name: '403 invalid token',
    refusal: said(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  {
    name: '403 that quotes the request',
    refusal: (asked: Asked) => said(403, `permission denied: ${quoted(asked)}`),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  { name: '404', refusal: said(404), expected: refusedFor('KEY_NOT_FOUND') },
  {
    name: '404 no mount',
    refusal: said(404, 'no handler for route "transit/sign/x". route entry not found.'),
    expected: refusedFor('KEY_NOT_FOUND'),
  },
  {
    name: '405',
    refusal: said(405, '1 error occurred:\n\t* unsupported operation\n\n'),
    expected: refusedFor('KEY_REQUEST_REFUSED'),
  },
  { name: '412 behind the active node', refusal: said(412, 'required index state not present'), expected: mayPass },
  {
    name: '413',
    refusal: said(413, 'error parsing JSON: http: request body too large'),
    expected: refusedFor('MESSAGE_TOO_LARGE'),
  },
  {
    name: '429',
    refusal: said(429, 'request path "x": rate limit quota exceeded'),
    expected: { ...throttled, attempts: 3 },
  },
  { name: '429 for half a minute', refusal: { ...said(429), headers: { 'retry-after': '30' } }, expected: notNow },
  { name: '472 disaster recovery secondary', refusal: said(472), expected: mayPass },
  { name: '473 performance standby', refusal: said(473), expected: mayPass },
  { name: '500', refusal: said(500, 'internal error'), expected: mayPass },
  { name: '501 not initialized', refusal: said(501), expected: mayPass },
  { name: '502 of a proxy', refusal: page(502), expected: mayPass },
  {
    name: '503 sealed',
    refusal: said(503, 'Vault is sealed'),
    expected: { code: 'unavailable', reason: 'KEY_SEALED', attempts: 1 },
  },
  { name: '503 for maintenance', refusal: page(503), expected: mayPass },
  {
    name: '503 for half a minute',
    refusal: page(503, { 'retry-after': '30' }),
    expected: { ...mayPass, attempts: 1 },
  },
  { name: '504 of a proxy', refusal: page(504), expected: mayPass },
  { name: '418', refusal: page(418), expected: refusedFor('KEY_REQUEST_REFUSED') },
];

const legOf = ({ method, path }: Asked): Leg | undefined => {
  if (method === 'POST' && path.startsWith('/v1/transit/sign/')) return 'sign';
  return method === 'GET' && path.startsWith('/v1/transit/keys/') ? 'open' : undefined;
};

const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();

const withSignature = (answer: Json, change: (signature: Buffer) => Buffer): Json => {
  const one = (item: Json): Json => {
    const [, prefix = '', base64 = ''] = /^(vault:v\d+:)(.*)$/.exec(String(item['signature'])) ?? [];
    return { ...item, signature: `${prefix}${change(Buffer.from(base64, 'base64')).toString('base64')}` };
  };
  return changed(answer, 'data', (data) => {
    const batch = data['batch_results'] as readonly Json[] | undefined;
    return batch === undefined
      ? one(data)
      : { ...data, batch_results: batch.map((item, index) => (index === 0 ? one(item) : item)) };
  });
};

const withText = (change: (text: string) => unknown) => (answer: Json) =>
  changed(answer, 'data', (data) => ({ ...data, signature: change(String(data['signature'])) }));
const withPublicKey = (answer: Json, change: (text: string) => unknown): Json =>
  changed(answer, 'data', (data) =>
    changed(data, 'keys', (keys) =>
      changed(keys, '1', (one) => ({ ...one, public_key: change(String(one['public_key'])) })),
    ),
  );

export const vaultSettings = (address: string, { token, key }: VaultBackend) =>
  keySettings.parse({ name: 'subject', kind: 'vault', address, key, login: { method: 'token', token } });

export const vaultProxy = ({ address, ownToken }: VaultBackend) =>
  startHttpProxy({
    target: address,
    legOf,
    ...(ownToken !== undefined && { headers: () => ({ 'x-vault-token': ownToken }) }),
  });

/** `backend` is asked for when a test starts. */
export const vaultFaults = (label: string, backend: () => VaultBackend, skip: string | false = false): void => {
  const start: FaultSubject<HttpRefusal>['start'] = async (t): Promise<FaultWorld<HttpRefusal>> => {
    const proxy = await vaultProxy(backend());
    t.after(proxy.close);
    return {
      proxy,
      openRing: () => openKeyring([vaultSettings(proxy.origin, backend())]),
      publicKey: createPublicKey(backend().publicKey),
      secrets: [backend().token],
    };
  };
  faultContract<HttpRefusal>({
    label,
    skip,
    start,
    encoding: 'der',
    withSignature,
    lies: {
      'another version': {
        change: (answer) =>
          changed(answer, 'data', (data) => ({
            ...data,
            signature: String(data['signature']).replace(':v1:', ':v2:'),
            key_version: 2,
          })),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'another version in the prefix alone': {
        change: withText((text) => text.replace(':v1:', ':v2:')),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'another version in the number alone': {
        change: (answer) => changed(answer, 'data', (data) => ({ ...data, key_version: 2 })),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'no prefix': { change: withText((text) => text.replace('vault:v1:', '')), expected: unusable() },
      'loose base64': { change: withText((text) => `${text}=`), expected: unusable() },
      'no text': { change: withText(() => 7), expected: unusable() },
    },
    wrongKeys: {
      truncated: { change: (answer) => withPublicKey(answer, (text) => text.slice(0, 80)), expected: unusable() },
      'of another curve': { change: (answer, other) => withPublicKey(answer, () => pem(other)), expected: unusable() },
      'of another key': {
        change: (answer, other) => withPublicKey(answer, () => pem(other)),
        expected: unusable('BAD_SIGNATURE'),
      },
    },
    garbage: httpGarbage,
    flood: alike({ ...mayPass, attempts: 1 }),
    redirect: { ...mayPass, attempts: 1 },
    table,
  });
};

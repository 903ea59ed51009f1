// Azure Key Vault behind the scripted proxy, and the table of what it says when it refuses.
import type { KeyObject } from 'node:crypto';
import type { Keyring } from '../../../src/keys/keyring.ts';
import { alike, type FaultWorld, mayPass, refusedFor, type Row, unusable } from './fault-ask.ts';
import { type FaultSubject, faultContract } from './fault-contract.ts';
import { httpGarbage, page, quoted } from './fault-http.ts';
import type { Asked, HttpAnswer, HttpFaultProxy, HttpRefusal } from './fault-proxy.ts';
import { changed, type Json, type Leg } from './fault-script.ts';

const said = (status: number, code: string, inner?: string, message = ''): HttpAnswer => ({
  status,
  body: { error: { code, message, ...(inner !== undefined && { innererror: { code: inner } }) } },
});
const throttled = { code: 'resource_exhausted', reason: 'KEY_THROTTLED' } as const;
const forbidden = (inner: string, reason: string): Row<HttpRefusal> => ({
  name: `403 ${inner}`,
  refusal: said(403, 'Forbidden', inner),
  expected: refusedFor(reason),
});

/**
 * Statuses and the shape of errors: learn.microsoft.com/azure/key-vault/general/rest-error-codes, and "authentication, requests
 * and responses"; throttling: general/overview-throttling. Inner codes as issue threads quote the service (peers.md section 6,
 * azure-sdk-for-net 11518); KeyNotYetValid and KeyExpired are guesses that nothing else depends on.
 */
const table: readonly Row<HttpRefusal>[] = [
  { name: '400 BadParameter', refusal: said(400, 'BadParameter'), expected: refusedFor('KEY_REQUEST_REFUSED') },
  {
    name: '400 incompatible algorithm',
    refusal: said(400, 'BadParameter', undefined, 'Key and signing algorithm are incompatible.'),
    expected: refusedFor('KEY_UNSUPPORTED'),
  },
  forbidden('KeyDisabled', 'KEY_DISABLED'),
  forbidden('KeyExpired', 'KEY_EXPIRED'),
  forbidden('KeyNotYetValid', 'KEY_NOT_YET_VALID'),
  forbidden('KeyOperationForbidden', 'KEY_UNSUPPORTED'),
  forbidden('ForbiddenByFirewall', 'KEY_NETWORK_DENIED'),
  forbidden('ForbiddenByConnection', 'KEY_NETWORK_DENIED'),
  forbidden('ForbiddenByRbac', 'KEY_ACCESS_DENIED'),
  forbidden('AccessDenied', 'KEY_ACCESS_DENIED'),
  { name: '403 of a proxy', refusal: page(403), expected: refusedFor('KEY_ACCESS_DENIED') },
  {
    name: '403 that quotes the request',
    refusal: (asked: Asked) => said(403, 'Forbidden', undefined, quoted(asked)),
    expected: refusedFor('KEY_ACCESS_DENIED'),
  },
  { name: '404 KeyNotFound', refusal: said(404, 'KeyNotFound'), expected: refusedFor('KEY_NOT_FOUND') },
  { name: '404 of a proxy', refusal: page(404), expected: refusedFor('KEY_NOT_FOUND') },
  { name: '405', refusal: said(405, 'MethodNotAllowed'), expected: refusedFor('KEY_REQUEST_REFUSED') },
  { name: '408', refusal: said(408, 'Timeout'), expected: mayPass },
  {
    name: '409 deleted',
    refusal: said(409, 'Conflict', 'ObjectIsDeletedButRecoverable'),
    expected: refusedFor('KEY_PENDING_DELETION'),
  },
  { name: '409 being recovered', refusal: said(409, 'Conflict', 'ObjectIsBeingRecovered'), expected: mayPass },
  { name: '429', refusal: said(429, 'Throttled'), expected: { ...throttled, attempts: 3 } },
  {
    name: '429 for half a minute',
    refusal: { ...said(429, 'Throttled'), headers: { 'retry-after': '30' } },
    expected: { ...throttled, attempts: 1 },
  },
  { name: '500', refusal: said(500, 'InternalServerError'), expected: mayPass },
  { name: '502 of a proxy', refusal: page(502), expected: mayPass },
  { name: '503', refusal: said(503, 'ServiceUnavailable'), expected: mayPass },
  {
    name: '503 for half a minute',
    refusal: page(503, { 'retry-after': '30' }),
    expected: { ...mayPass, attempts: 1 },
  },
  { name: '504 of a proxy', refusal: page(504), expected: mayPass },
  { name: '204', refusal: { status: 204 }, expected: refusedFor('KEY_REQUEST_REFUSED') },
  { name: '418', refusal: page(418), expected: refusedFor('KEY_REQUEST_REFUSED') },
];

/** With a token: the first request of a client goes without, and is only asked for one. */
export const azureLegOf = ({ method, path, headers }: Asked): Leg | undefined => {
  if (headers.authorization === undefined) return undefined;
  const [, , , version, operation] = new URL(path, 'https://vault').pathname.split('/');
  if (method === 'POST' && operation === 'sign') return 'sign';
  const reads = method === 'GET' && version !== undefined && version !== 'versions' && operation === undefined;
  return reads ? 'open' : undefined;
};

const pointOf = (key: KeyObject) => {
  const { crv, x, y } = key.export({ format: 'jwk' });
  return { crv, x, y };
};
const withJwk = (answer: Json, change: (jwk: Json) => object): Json =>
  changed(answer, 'key', (jwk) => ({ ...jwk, ...change(jwk) }));
const withText = (answer: Json, change: (text: string) => unknown): Json => ({
  ...answer,
  value: change(String(answer['value'])),
});
const lastDigit = /\w$/;
const withKid = (change: (kid: string) => unknown) => (answer: Json) => ({
  ...answer,
  kid: change(String(answer['kid'])),
});

export type AzureBackend = {
  startProxy(): Promise<{ readonly proxy: HttpFaultProxy; readonly openRing: () => Keyring }>;
  readonly publicKey: KeyObject;
  readonly secrets: readonly string[];
};

export const azureFaults = (label: string, backend: AzureBackend): void => {
  const start: FaultSubject<HttpRefusal>['start'] = async (t): Promise<FaultWorld<HttpRefusal>> => {
    const { proxy, openRing } = await backend.startProxy();
    t.after(proxy.close);
    const { publicKey, secrets } = backend;
    return { proxy, openRing, publicKey, secrets };
  };
  faultContract<HttpRefusal>({
    label,
    start,
    encoding: 'raw',
    withSignature: (answer, change) =>
      withText(answer, (text) => change(Buffer.from(text, 'base64url')).toString('base64url')),
    lies: {
      'another version': {
        change: withKid((kid) => kid.replace(lastDigit, (digit) => (digit === '0' ? '1' : '0'))),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'another key': {
        change: withKid((kid) => kid.replace('/release/', '/other/')),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'another vault': {
        change: withKid((kid) => kid.replace('127.0.0.1', 'unit.vault.azure.net')),
        expected: unusable('KEY_VERSION_MISMATCH'),
      },
      'padded base64': { change: (answer) => withText(answer, (text) => `${text}==`), expected: unusable() },
      'no text': { change: (answer) => withText(answer, () => 7), expected: unusable() },
    },
    wrongKeys: {
      truncated: {
        change: (answer) => withJwk(answer, ({ x }) => ({ x: String(x).slice(0, 20) })),
        expected: unusable(),
      },
      'of another curve': {
        change: (answer, other) => withJwk(answer, () => ({ ...pointOf(other), crv: 'P-256' })),
        expected: unusable(),
      },
      'of another key': {
        change: (answer, other) => withJwk(answer, () => pointOf(other)),
        expected: unusable('BAD_SIGNATURE'),
      },
    },
    garbage: httpGarbage,
    flood: alike({ ...mayPass, attempts: 1 }),
    redirect: refusedFor('KEY_REQUEST_REFUSED'),
    table,
  });
};

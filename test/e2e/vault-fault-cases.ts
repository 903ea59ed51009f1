// What can befall a request to Vault, and what the service makes of it.
import { generateKeyPairSync } from 'node:crypto';
import type { Fault, FakeVault } from '../keys/fake-vault.ts';
import { signDigest } from '../keys/sign-digest.ts';
import { reset } from '../keys/vault-world.ts';
import { type Expected, refusal } from './both-edges.ts';

/** What a request gets whose end is not its deadline: enough for a busy machine. */
export const patientMs = 15_000;
/** What one gets that ends by it. */
export const deadlineMs = 2_500;
/** What may pass between the deadline and the answer, on a busy machine. */
export const marginMs = 4_000;

export const idsOf = (outcomes: readonly { readonly requestId: string }[]): string[] =>
  outcomes.map(({ requestId }) => requestId);

export const soon = { min: 1, max: 1_000 };
export const errors = (status: number, ...said: string[]) => ({ status, body: { errors: said } });
const signature = (bytes: Uint8Array, version = 1) => ({
  status: 200,
  body: { data: { signature: `vault:v${version}:${Buffer.from(bytes).toString('base64')}`, key_version: version } },
});

const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
const byStranger: Fault = ({ body }) => signature(signDigest(stranger, Buffer.from(String(body['input']), 'base64')));
const ofSomethingElse: Fault = () => signature(signDigest(stranger, Buffer.alloc(32, 7)));
export const hang: Fault = () => 'handled';
const stall: Fault = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
  response.write('{"data":');
  return 'handled';
};
const flood: Fault = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(Buffer.alloc(5 * 1024 * 1024, 0x20));
  return 'handled';
};

export type Case = {
  readonly name: string;
  readonly fault: Parameters<FakeVault['fail']>[1];
  readonly expected: Expected;
};

const garbage = refusal('data_loss', 'KEY_ANSWER_MALFORMED');
const badSignature = refusal('data_loss', 'BAD_SIGNATURE');
export const sealed = refusal('unavailable', 'KEY_SEALED', { min: 1, max: 10_000 });
export const late = refusal('deadline_exceeded', 'DEADLINE_EXCEEDED');

/** What befalls the request to sign, for good. */
export const cases: readonly Case[] = [
  { name: 'sealed', fault: errors(503, 'Vault is sealed'), expected: sealed },
  {
    name: 'permission denied',
    fault: errors(403, '1 error occurred:\n\t* permission denied\n\n'),
    expected: refusal('failed_precondition', 'KEY_ACCESS_DENIED'),
  },
  {
    name: '429 with Retry-After',
    fault: { ...errors(429, 'request path: rate limit quota exceeded'), headers: { 'retry-after': '30' } },
    expected: refusal('resource_exhausted', 'KEY_THROTTLED', { min: 30_000, max: 30_000 }),
  },
  {
    name: '429 for a day',
    fault: { ...errors(429), headers: { 'retry-after': '86400' } },
    expected: refusal('resource_exhausted', 'KEY_THROTTLED', { min: 86_400_000, max: 86_400_000 }),
  },
  { name: '500', fault: errors(500, 'internal error'), expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon) },
  {
    name: '502 of a proxy',
    fault: { status: 502, body: '<html>Bad Gateway</html>' },
    expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon),
  },
  {
    name: 'standby',
    fault: { status: 307, headers: { location: 'http://127.0.0.2/v1' } },
    expected: refusal('unavailable', 'KEY_UNAVAILABLE'),
  },
  { name: 'reset', fault: reset, expected: refusal('unavailable', 'KEY_UNAVAILABLE', soon) },
  { name: 'flood', fault: flood, expected: refusal('unavailable', 'KEY_UNAVAILABLE') },
  {
    name: 'wrong version',
    fault: signature(Buffer.alloc(70), 2),
    expected: refusal('data_loss', 'KEY_VERSION_MISMATCH'),
  },
  { name: "other key's signature", fault: byStranger, expected: badSignature },
  { name: "other message's signature", fault: ofSomethingElse, expected: badSignature },
  { name: 'garbage DER', fault: signature(Buffer.from('30450221deadbeef', 'hex')), expected: badSignature },
  { name: 'zeros', fault: signature(Buffer.alloc(71)), expected: badSignature },
  { name: 'one byte', fault: signature(Buffer.of(0x30)), expected: badSignature },
  { name: 'empty signature', fault: { status: 200, body: { data: { signature: 'vault:v1:' } } }, expected: garbage },
  { name: 'not JSON', fault: { status: 200, body: 'signature' }, expected: garbage },
  { name: 'nothing', fault: { status: 204 }, expected: garbage },
];

/** These end by the deadline alone. */
export const lateCases: readonly Case[] = [
  { name: 'hang', fault: hang, expected: late },
  { name: 'stall in the body', fault: stall, expected: late },
];

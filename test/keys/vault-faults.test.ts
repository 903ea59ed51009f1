import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { openContext } from '../../src/model/context.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import {
  failing,
  login,
  message,
  opened,
  openedKey,
  reading,
  reset,
  settings,
  signing,
  started,
} from './vault-world.ts';

test('sealed: at once and without another try, as unavailable with a delay', async (t) => {
  const { error, calls } = await failing(t, { status: 503, body: { errors: ['Vault is sealed'] } });
  assert.deepEqual([error.code, error.reason, calls], ['unavailable', 'KEY_SEALED', 1]);
  assert.ok((error.retryAfterMs ?? 0) > 0);
  assert.match(error.message, /unseal it/);
});

for (const status of [412, 500, 502, 503]) {
  test(`${status}: one attempt, unavailable with a delay`, async (t) => {
    const { error, calls } = await failing(t, { status, body: { errors: ['1 error occurred'] } });
    assert.deepEqual([error.code, error.reason, calls], ['unavailable', 'KEY_UNAVAILABLE', 1]);
    assert.ok((error.retryAfterMs ?? 0) > 0);
  });
}

test('reading at the opening is tried again, signing is not', async (t) => {
  const vault = await started(t);
  vault.fail(login, reset, 1);
  vault.fail(reading, { status: 500, body: { errors: [] } }, 1);
  vault.fail(reading, reset, 1);
  const key = await openedKey(t, vault);
  assert.deepEqual([vault.count(login), vault.count(reading)], [2, 3]);
  vault.fail(signing, reset, 1);
  assert.equal((await rejection(key.sign(message, testContext()))).reason, 'KEY_UNAVAILABLE');
  assert.ok(await key.sign(message, testContext()));
  assert.equal(vault.count(signing), 2);
});

test('what a node says of itself is told apart', async (t) => {
  const cases = [
    [412, [], 'KEY_UNAVAILABLE', /not caught up/],
    [429, [], 'KEY_THROTTLED', /rate/],
    [472, [], 'KEY_UNAVAILABLE', /disaster recovery secondary/],
    [473, [], 'KEY_UNAVAILABLE', /standby/],
    [500, ['local node not active but active cluster node not found'], 'KEY_UNAVAILABLE', /standby/],
    [503, ['Vault is sealed'], 'KEY_SEALED', /unseal it/],
    [503, ['maintenance'], 'KEY_UNAVAILABLE', /status 503/],
    [403, ['permission denied'], 'KEY_ACCESS_DENIED', /policy needs/],
    [
      403,
      ['2 errors occurred:\n\t* permission denied\n\t* invalid token'],
      'KEY_ACCESS_DENIED',
      /does not know the service's token/,
    ],
    [400, ['signing key not found'], 'KEY_NOT_FOUND', /no such key/],
    [404, [], 'KEY_NOT_FOUND', /no such key/],
    [404, ['no handler for route "x/sign/y". route entry not found.'], 'KEY_NOT_FOUND', /no transit engine/],
    [
      500,
      ['requested version for signing is less than the minimum encryption key version'],
      'KEY_DISABLED',
      /min_encryption_version/,
    ],
    [500, ['requested version for signing is higher than the latest key version'], 'KEY_NOT_FOUND', /no such version/],
    [500, ['no such key version'], 'KEY_DISABLED', /min_encryption_version/],
    [500, ['requested version for signing does not contain a private part'], 'KEY_UNSUPPORTED', /public key alone/],
    [400, ['refusing to use soft-deleted key'], 'KEY_DISABLED', /restore it/],
    [400, ['key type aes256-gcm96 does not support signing'], 'KEY_UNSUPPORTED', /cannot sign/],
    [418, [], 'KEY_REQUEST_REFUSED', /status 418/],
  ] as const;
  const vault = await started(t);
  const key = await openedKey(t, vault);
  for (const [status, said, reason, words] of cases) {
    const fault = { status, body: { errors: said } };
    // A 403 leads to another login and another attempt.
    vault.fail(signing, fault, status === 403 ? 2 : 1);
    const error = await rejection(key.sign(message, testContext()));
    vault.heal();
    assert.equal(error.reason, reason, `${status} ${said}`);
    assert.match(error.message, words);
    const mayPass = ['KEY_UNAVAILABLE', 'KEY_SEALED', 'KEY_THROTTLED'].includes(reason);
    assert.equal(error.retryAfterMs !== undefined, mayPass, `${status} ${said}`);
    assert.equal(error.code === 'failed_precondition', !mayPass);
  }
});

test('throttled: Retry-After reaches the caller when the deadline is nearer', async (t) => {
  const { error, calls } = await failing(t, { status: 429, headers: { 'retry-after': '30' }, body: { errors: [] } });
  assert.deepEqual([error.code, error.reason, calls], ['resource_exhausted', 'KEY_THROTTLED', 1]);
  assert.equal(error.retryAfterMs, 30_000);
});

test('reset: unavailable', async (t) => {
  const { error, calls } = await failing(t, reset);
  assert.deepEqual([error.code, error.reason, calls], ['unavailable', 'KEY_UNAVAILABLE', 1]);
});

test('hanging: the deadline of the request ends it', async (t) => {
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  vault.fail(signing, () => 'handled');
  const before = performance.now();
  const error = await rejection(ring.sign('subject', message, openContext('hang', 150).context));
  assert.equal(error.code, 'deadline_exceeded');
  assert.ok(performance.now() - before < 1000);
});

test('cancelled while Vault hangs: the caller is let go at once', async (t) => {
  const { vault, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  const before = vault.count(signing);
  vault.fail(signing, () => 'handled');
  const owned = openContext('cancelled', 10_000);
  const error = rejection(ring.sign('subject', message, owned.context));
  await vault.seen(signing, before + 1);
  owned.cancel();
  assert.equal((await error).code, 'cancelled');
});

test('missing key, mount or permission say what to check', async (t) => {
  const { vault, ring } = await opened(t, { key: 'absent' });
  const absent = await rejection(ring.sign('subject', message, testContext()));
  assert.deepEqual([absent.code, absent.reason], ['failed_precondition', 'KEY_NOT_FOUND']);
  const other = openKeyring([settings(vault, { mount: 'other' })]);
  t.after(() => other.close());
  assert.equal((await rejection(other.sign('subject', message, testContext()))).reason, 'KEY_NOT_FOUND');
});

test('a wrong version, another key, garbage: nothing leaves', async (t) => {
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const other = sign('sha256', message.message, foreign).toString('base64');
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['another version', { signature: `vault:v2:${other}`, key_version: 2 }, 'KEY_VERSION_MISMATCH'],
    ['a lying prefix', { signature: `vault:v1:${other}`, key_version: 2 }, 'KEY_VERSION_MISMATCH'],
    ['another key', { signature: `vault:v1:${other}`, key_version: 1 }, 'BAD_SIGNATURE'],
    ['garbage DER', { signature: 'vault:v1:MAYCAQECAQE=', key_version: 1 }, 'BAD_SIGNATURE'],
    ['an empty signature', { signature: 'vault:v1:', key_version: 1 }, 'KEY_ANSWER_MALFORMED'],
    ['loose base64', { signature: 'vault:v1:AAA', key_version: 1 }, 'KEY_ANSWER_MALFORMED'],
    ['no prefix', { signature: other, key_version: 1 }, 'KEY_ANSWER_MALFORMED'],
    ['no signature', {}, 'KEY_ANSWER_MALFORMED'],
    ['null', null, 'KEY_ANSWER_MALFORMED'],
  ];
  const { vault, ring } = await opened(t);
  for (const [what, data, reason] of cases) {
    await ring.sign('subject', message, testContext());
    vault.fail(signing, { status: 200, body: { data } }, 1);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['data_loss', reason], what);
  }
  for (const body of ['not json', '[]', '"text"', 'null']) {
    vault.fail(signing, { status: 200, body }, 1);
    assert.equal((await rejection(ring.sign('subject', message, testContext()))).code, 'data_loss', body);
  }
});

test('a description that is not one: nothing is opened', async (t) => {
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({ type: 'spki', format: 'pem' });
  const key = (public_key: unknown, more: object = {}) => ({
    data: { type: 'ecdsa-p256', latest_version: 1, keys: { 1: { public_key } }, ...more },
  });
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['a truncated public key', key(String(pem).slice(0, 80)), 'KEY_ANSWER_MALFORMED'],
    ['no public key', key(undefined), 'KEY_ANSWER_MALFORMED'],
    ['a public key of another type', key(pem), 'KEY_ANSWER_MALFORMED'],
    ['31 bytes of Ed25519', key(Buffer.alloc(31).toString('base64'), { type: 'ed25519' }), 'KEY_ANSWER_MALFORMED'],
    [
      'odd version names',
      { data: { type: 'ecdsa-p256', latest_version: 1, keys: { __proto__x: {} } } },
      'KEY_ANSWER_MALFORMED',
    ],
    ['nothing', {}, 'KEY_ANSWER_MALFORMED'],
    [
      'a symmetric key',
      { data: { type: 'aes256-gcm96', latest_version: 1, keys: { 1: 1795738361 } } },
      'KEY_UNSUPPORTED',
    ],
    ['a derived key', key('', { type: 'ed25519', derived: true }), 'KEY_UNSUPPORTED'],
    ['a deleted key', key(pem, { soft_deleted: true }), 'KEY_DISABLED'],
    ['a managed key', { data: { type: 'managed_key', latest_version: 1 } }, 'KEY_UNSUPPORTED'],
    ['no versions', { data: { type: 'ecdsa-p256', latest_version: 1, keys: {} } }, 'KEY_ANSWER_MALFORMED'],
  ];
  const vault = await started(t);
  for (const [what, body, reason] of cases) {
    vault.fail(reading, { status: 200, body }, 1);
    const ring = openKeyring([settings(vault)]);
    assert.equal((await rejection(ring.sign('subject', message, testContext()))).reason, reason, what);
    await ring.close();
  }
});

test('an answer without end is cut off', async (t) => {
  const vault = await started(t);
  vault.fail(reading, (_, response) => {
    response.writeHead(200);
    response.write(Buffer.alloc(5 * 1024 * 1024, 0x20));
    return 'handled';
  });
  const ring = openKeyring([settings(vault)]);
  t.after(() => ring.close());
  assert.equal((await rejection(ring.sign('subject', message, testContext()))).code, 'unavailable');
});

test('a redirect is not followed: the token stays here', async (t) => {
  const elsewhere = await started(t);
  const { error } = await failing(t, { status: 307, headers: { location: `${elsewhere.address}/v1/x` } });
  assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(error.message, /redirects/);
  assert.equal(elsewhere.calls.length, 0);
});

test('a Vault that is down at first: the failure is remembered for a moment, the key comes later', async (t) => {
  const { vault, ring } = await opened(t);
  vault.fail(/./, { status: 503, body: { errors: ['Vault is sealed'] } });
  const failed = await ring.warm(testContext());
  assert.deepEqual(
    failed.map(({ name, error }) => [name, error.reason]),
    [['subject', 'KEY_SEALED']],
  );
  const before = vault.calls.length;
  await rejection(ring.sign('subject', message, testContext()));
  assert.equal(vault.calls.length, before, 'within five seconds it is not asked again');
});

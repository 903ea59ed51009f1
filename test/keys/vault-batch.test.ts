// Many messages under one key: transit's batch_input.
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Key } from '../../src/keys/port.ts';
import { maxBatch } from '../../src/keys/port.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { ToSign } from '../../src/model/signature.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import type { FakeVault } from './fake-vault.ts';
import { openedKey, signing, started } from './vault-world.ts';

const messages = (count: number): readonly ToSign[] =>
  Array.from({ length: count }, (_, index) => ({ kind: 'message', message: Buffer.from(`message ${index}`) }));

const many = (key: Key, toSigns: readonly ToSign[]): Promise<readonly (Uint8Array | CountersignError)[]> =>
  key.signMany?.(toSigns, testContext()) ?? assert.fail('no batch');

const world = async (t: TestContext, more: object = {}): Promise<{ vault: FakeVault; key: Key }> => {
  const vault = await started(t);
  return { vault, key: await openedKey(t, vault, more) };
};

/** Each outcome as `signed` (and verified) or the reason of its error. */
const judged = (key: Key, toSigns: readonly ToSign[], outcomes: readonly (Uint8Array | CountersignError)[]) =>
  outcomes.map((outcome, index) => {
    if (outcome instanceof CountersignError) return outcome.reason;
    const toSign = toSigns[index] ?? assert.fail();
    return verifySignature(key.description.signing, toSign, outcome) ? 'signed' : 'wrong';
  });

test('a full batch: one request, in order, by the pinned version', async (t) => {
  const { vault, key } = await world(t);
  vault.rotate('release');
  const toSigns = messages(maxBatch);
  const outcomes = await many(key, toSigns);
  assert.deepEqual(new Set(judged(key, toSigns, outcomes)), new Set(['signed']));
  assert.equal(outcomes.length, maxBatch);
  const calls = vault.calls.filter(({ path }) => path.startsWith('transit/sign/'));
  assert.equal(calls.length, 1);
  const { batch_input: items, ...rest } = calls[0]?.body ?? {};
  assert.deepEqual(rest, { key_version: 1, prehashed: true, marshaling_algorithm: 'asn1' });
  assert.ok(Array.isArray(items) && items.length === maxBatch);
  assert.deepEqual(await many(key, []), []);
});

test('each failed item has its own error, as alone; the others are signed', async (t) => {
  const { vault, key } = await world(t);
  const toSigns = messages(6);
  const good = await many(key, toSigns);
  const signature = (index: number): string => `vault:v1:${Buffer.from(good[index] as Uint8Array).toString('base64')}`;
  const tooLow = 'requested version for signing is less than the minimum encryption key version';
  const batch_results = [
    { signature: signature(0), key_version: 1 },
    { error: tooLow },
    { signature: signature(2), key_version: 2 },
    { signature: 'vault:v1:AAA' },
    { error: 'something of its own' },
    { signature: signature(0), key_version: 1 },
  ];
  vault.fail(signing, { status: 200, body: { data: { batch_results } } }, 1);
  const outcomes = await many(key, toSigns);
  assert.deepEqual(judged(key, toSigns, outcomes), [
    'signed',
    'KEY_DISABLED',
    'KEY_VERSION_MISMATCH',
    'KEY_ANSWER_MALFORMED',
    'KEY_UNAVAILABLE',
    // Another message's signature: the keyring verifies, and drops it.
    'wrong',
  ]);
  const transient = outcomes[4];
  assert.ok(transient instanceof CountersignError && transient.retryAfterMs !== undefined);
});

test('a count that is not that of the inputs, and garbage: nothing is used', async (t) => {
  const { vault, key } = await world(t);
  const toSigns = messages(3);
  const [one, two, three] = (await many(key, toSigns)).map((each) => ({
    signature: `vault:v1:${Buffer.from(each as Uint8Array).toString('base64')}`,
  }));
  for (const data of [
    { batch_results: [one, two] },
    { batch_results: [one, two, three, three] },
    { batch_results: {} },
    { signature: one?.signature },
    { batch_results: [null, 'text', 7] },
    null,
  ]) {
    vault.fail(signing, { status: 200, body: { data } }, 1);
    const error = await rejection(many(key, toSigns));
    assert.deepEqual([error.code, error.reason], ['data_loss', 'KEY_ANSWER_MALFORMED'], JSON.stringify(data));
  }
});

test('a request that fails as a whole rejects, in one attempt; so does a version that may not sign', async (t) => {
  const { vault, key } = await world(t);
  vault.fail(signing, { status: 503, body: { errors: ['Vault is sealed'] } }, 1);
  const before = vault.count(signing);
  assert.equal((await rejection(many(key, messages(3)))).reason, 'KEY_SEALED');
  assert.equal(vault.count(signing), before + 1);
  vault.revokeTokens();
  assert.equal((await many(key, messages(3))).length, 3, 'a token that expired is replaced');
  vault.setMinimum('release', 2);
  const error = await rejection(many(key, messages(3)));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_DISABLED']);
});

test('what cannot be signed is not sent', async (t) => {
  const vault = await started(t);
  vault.createKey('large', 'P-384');
  const key = await openedKey(t, vault, { key: 'large' });
  const digest: ToSign = { kind: 'digest', digest: Buffer.alloc(32) };
  const [message] = messages(1);
  const toSigns = [digest, message ?? assert.fail(), digest];
  const outcomes = await many(key, toSigns);
  assert.deepEqual(judged(key, toSigns, outcomes), ['DIGEST_NOT_SUPPORTED', 'signed', 'DIGEST_NOT_SUPPORTED']);
  const sent = vault.calls.at(-1)?.body['batch_input'];
  assert.ok(Array.isArray(sent) && sent.length === 1);
  const before = vault.count(signing);
  assert.equal((await rejection(many(key, [digest, digest]))).reason, 'DIGEST_NOT_SUPPORTED');
  assert.equal(vault.count(signing), before);
});

// What stands between a request and any backend: retries, breaker, quota, batches, verification.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKeyring, type KeyEntry } from '../../src/keys/keyring.ts';
import { type Key, maxBatch } from '../../src/keys/port.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { ToSign } from '../../src/model/signature.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { message, realKey, refused, scriptedKey, unavailable } from './scripted-key.ts';

const world = async (t: TestContext, more: Partial<KeyEntry> = {}) => {
  const key = await scriptedKey('k', more);
  const ring = createKeyring([key]);
  t.after(() => ring.close());
  return { key, ring, sign: (context = testContext()) => ring.sign('k', message, context) };
};

test('what may pass is tried again, three times in all', async (t) => {
  const { key, sign } = await world(t);
  key.onSign = (signed) => (signed < 3 ? Promise.reject(unavailable(1)) : undefined);
  assert.ok(await sign());
  assert.equal(key.counts.signed, 3);
  key.onSign = () => Promise.reject(unavailable(1));
  assert.equal((await rejection(sign())).reason, 'KEY_UNAVAILABLE');
  assert.equal(key.counts.signed, 6);
});

test('what does not pass by itself is tried once', async (t) => {
  const { key, sign } = await world(t);
  for (const error of [refused('KEY_ACCESS_DENIED'), refused('KEY_UNSUPPORTED'), unavailable()]) {
    key.counts.signed = 0;
    key.onSign = () => Promise.reject(error);
    assert.equal(await rejection(sign()), error);
    assert.equal(key.counts.signed, 1);
  }
});

test('nothing is tried again that could not end before the deadline', async (t) => {
  const { key, sign } = await world(t);
  key.onSign = () => Promise.reject(unavailable(5_000));
  const owned = openContext('hasty', 1_000);
  t.after(owned.dispose);
  const error = await rejection(sign(owned.context));
  assert.deepEqual([error.reason, key.counts.signed], ['KEY_UNAVAILABLE', 1]);
});

test('in an outage retries are few, and then the backend is left alone', async (t) => {
  const { key, sign } = await world(t);
  const throttled = new CountersignError('resource_exhausted', 'KEY_THROTTLED', 'slow down', { retryAfterMs: 1 });
  key.onSign = () => Promise.reject(throttled);
  const requests = 100;
  await Promise.all(Array.from({ length: requests }, () => rejection(sign())));
  // 10 in reserve and one for each five requests.
  assert.ok(key.counts.signed <= requests + 10 + requests / 5, `${key.counts.signed} attempts`);
  assert.ok(key.counts.signed >= requests);

  key.onSign = () => Promise.reject(unavailable(1));
  key.counts.signed = 0;
  const reasons = new Set<string>();
  for (let index = 0; index < 20; index += 1) reasons.add((await rejection(sign())).reason);
  assert.deepEqual([...reasons], ['KEY_UNAVAILABLE', 'KEY_BREAKER_OPEN']);
  assert.ok(key.counts.signed <= 5 + 3, `${key.counts.signed}`);
});

test('a breaker that is open says when to come again, and one attempt finds out whether it is over', async (t) => {
  let now = performance.now();
  t.mock.method(performance, 'now', () => now);
  const { key, ring } = await world(t);
  const sign = () => ring.sign('k', message, { ...testContext(), deadline: Number.POSITIVE_INFINITY });
  key.onSign = () => Promise.reject(unavailable());
  for (let index = 0; index < 5; index += 1) await rejection(sign());
  const error = await rejection(sign());
  assert.equal(error.reason, 'KEY_BREAKER_OPEN');
  assert.ok((error.retryAfterMs ?? 0) > 1_000 && (error.retryAfterMs ?? 0) <= 5_000);
  key.onSign = () => {};
  now += 5_001;
  assert.ok(await sign());
  assert.ok(await sign());
});

test('a key that is refused, disabled or throttled does not open the breaker: it answers', async (t) => {
  const { key, sign } = await world(t);
  for (const reason of ['KEY_ACCESS_DENIED', 'KEY_DISABLED', 'KEY_UNSUPPORTED']) {
    key.onSign = () => Promise.reject(refused(reason));
    for (let index = 0; index < 10; index += 1) assert.equal((await rejection(sign())).reason, reason);
  }
});

test('a key signs for so many at once as its limits say, callers in turn, and what is too much is refused at once', async (t) => {
  const { key, ring } = await world(t, { limits: { maxConcurrent: 2, maxQueued: 4 } });
  const gate = Promise.withResolvers<void>();
  let most = 0;
  let now = 0;
  key.onSign = async () => {
    now += 1;
    most = Math.max(most, now);
    await gate.promise;
    now -= 1;
  };
  const order: string[] = [];
  const as = (caller: string) =>
    ring.sign('k', message, { ...testContext(), caller }).then(
      () => order.push(caller),
      (error: CountersignError) => order.push(`${caller} ${error.reason}`),
    );
  const greedy = Array.from({ length: 7 }, () => as('greedy'));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(order, ['greedy KEY_QUOTA'], 'two sign, four wait');
  const modest = as('modest');
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(order, ['greedy KEY_QUOTA', 'greedy KEY_QUOTA'], 'who has most waiting makes room');
  gate.resolve();
  await Promise.all([...greedy, modest]);
  assert.equal(most, 2);
  assert.ok(order.indexOf('modest') < order.lastIndexOf('greedy'), 'did not wait for all of the other');
});

/** A backend with a batch of its own: what it was asked, and how it answers. */
const batching = (
  key: Key,
  answer: (toSigns: readonly ToSign[]) => Promise<readonly (Uint8Array | CountersignError)[]>,
): Key => ({
  ...key,
  sign: () => assert.fail('was asked for one'),
  signMany: (toSigns) => answer(toSigns),
});
const messages = (count: number): ToSign[] =>
  Array.from({ length: count }, (_, index) => ({ kind: 'message', message: Buffer.from(`message ${index}`) }));

test("many messages go through the backend's own batch, in parts, in order, each verified", async (t) => {
  const real = await realKey();
  const sizes: number[] = [];
  const broken = refused('KEY_REQUEST_REFUSED');
  const ring = createKeyring([
    {
      name: 'k',
      requireProtection: undefined,
      open: async () =>
        batching(real, async (toSigns) => {
          sizes.push(toSigns.length);
          const signed = await Promise.all(toSigns.map((toSign) => real.sign(toSign, testContext())));
          return signed.map((signature, index) => {
            if (index === 1) return broken;
            return index === 2 ? Buffer.from('nonsense') : signature;
          });
        }),
    },
  ]);
  t.after(() => ring.close());
  const held = await ring.hold('k', testContext());
  const outcomes = await held.signMany(messages(maxBatch + 3), testContext());
  held.release();
  assert.deepEqual(sizes, [maxBatch, 3]);
  assert.equal(outcomes.length, maxBatch + 3);
  for (const [index, outcome] of outcomes.entries()) {
    const place = index % maxBatch;
    if (place === 1) assert.equal(outcome, broken);
    else if (place === 2) assert.equal(outcome instanceof CountersignError && outcome.reason, 'BAD_SIGNATURE');
    else assert.ok(outcome instanceof Uint8Array, `${index}`);
  }
});

test('a batch that fails as a whole is tried again, then every item has the error; one that is short is no answer', async (t) => {
  const real = await realKey();
  let calls = 0;
  let answer: Parameters<typeof batching>[1] = () => Promise.reject(unavailable(1));
  const ring = createKeyring([
    {
      name: 'k',
      requireProtection: undefined,
      open: async () =>
        batching(real, (toSigns) => {
          calls += 1;
          return answer(toSigns);
        }),
    },
  ]);
  t.after(() => ring.close());
  const held = await ring.hold('k', testContext());
  t.after(() => held.release());
  const failed = await held.signMany(messages(3), testContext());
  assert.equal(calls, 3);
  assert.deepEqual(
    failed.map((outcome) => outcome instanceof CountersignError && outcome.reason),
    ['KEY_UNAVAILABLE', 'KEY_UNAVAILABLE', 'KEY_UNAVAILABLE'],
  );
  answer = async ([first]) => (first === undefined ? [] : [await real.sign(first, testContext())]);
  const [good, ...rest] = await held.signMany(messages(3), testContext());
  assert.ok(good instanceof Uint8Array);
  for (const outcome of rest) {
    assert.equal(outcome instanceof CountersignError && outcome.reason, 'KEY_ANSWER_MALFORMED');
  }
});

test('without a batch of its own, a backend is asked for each, and one failure is one', async (t) => {
  const { key, ring } = await world(t);
  key.onSign = (signed) => (signed === 2 ? Promise.reject(refused('KEY_REQUEST_REFUSED')) : undefined);
  const held = await ring.hold('k', testContext());
  const outcomes = await held.signMany(messages(4), testContext());
  held.release();
  assert.deepEqual(
    outcomes.map((outcome) => outcome instanceof Uint8Array),
    [true, false, true, true],
  );
});

// A key in use is opened anew in time: rotation, changes of state, a backend that is away.
import assert from 'node:assert/strict';
import { setImmediate as soon } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import { createKeyring } from '../../src/keys/keyring.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { message, realKey, refused, scriptedKey, unavailable } from './scripted-key.ts';

const refreshMs = 60_000;

/** A clock that only the test moves, and contexts that do not end by it. */
const clockOf = (t: TestContext): { pass(ms: number): Promise<void> } => {
  let monotonic = performance.now();
  let wall = Date.now();
  t.mock.method(performance, 'now', () => monotonic);
  t.mock.method(Date, 'now', () => wall);
  return {
    pass: async (ms) => {
      monotonic += ms;
      wall += ms;
      await soon();
    },
  };
};
const lasting = () => ({ ...testContext(), deadline: Number.POSITIVE_INFINITY });

const world = async (t: TestContext, more: { refreshMs?: number } = {}) => {
  const clock = clockOf(t);
  const key = await scriptedKey('k', { refreshMs, ...more });
  const ring = createKeyring([key]);
  t.after(() => ring.close());
  const version = async () => (await ring.sign('k', message, lasting())).version.version;
  return { clock, key, ring, version };
};

test('a rotation is seen after the time to refresh, by whoever comes next, and the old version is closed', async (t) => {
  const { clock, key, version } = await world(t);
  const before = await version();
  key.key = await realKey();
  await clock.pass(refreshMs / 2);
  assert.equal(await version(), before, 'nobody looks before it is time');
  await clock.pass(refreshMs);
  assert.equal(await version(), before, 'the one who comes first does not wait');
  await soon();
  assert.equal(await version(), key.key.description.signing.version);
  assert.deepEqual(key.counts, { opened: 2, closed: 1, signed: 4 });
});

test('a request signs with one version from beginning to end, whatever happens to the key meanwhile', async (t) => {
  const { clock, key, ring, version } = await world(t);
  const held = await ring.hold('k', lasting());
  const { version: mine } = held.description.signing;
  key.key = await realKey();
  await clock.pass(2 * refreshMs);
  await version();
  await soon();
  assert.notEqual(await version(), mine);
  assert.equal(held.description.signing.version, mine);
  assert.ok(await held.sign(message, lasting()), 'verified with the public key of its own version');
  assert.equal(key.counts.closed, 0, 'not under the one who holds it');
  held.release();
  assert.equal(key.counts.closed, 1);
});

test('a key that was not used for long is looked at before it signs', async (t) => {
  const { clock, key, version } = await world(t);
  await version();
  key.key = await realKey();
  await clock.pass(10 * refreshMs);
  assert.equal(await version(), key.key.description.signing.version);
});

test('while the backend is away the known version signs on, and GetKey tells', async (t) => {
  const { clock, key, ring, version } = await world(t);
  const known = await version();
  key.onOpen = () => Promise.reject(unavailable(1));
  for (const idle of [2, 10]) {
    await clock.pass(idle * refreshMs);
    assert.equal(await version(), known);
    await soon();
    assert.equal((await ring.describe('k', lasting())).problem, 'down');
  }
  key.onOpen = () => {};
  await clock.pass(2 * refreshMs);
  await version();
  await soon();
  assert.equal((await ring.describe('k', lasting())).problem, undefined);
});

for (const reason of ['KEY_DISABLED', 'KEY_PENDING_DELETION', 'KEY_DESTROYED', 'KEY_EXPIRED', 'KEY_NOT_FOUND']) {
  test(`${reason}, seen while looking again, ends the use of the version`, async (t) => {
    const { clock, key, version } = await world(t);
    await version();
    key.onOpen = () => Promise.reject(refused(reason));
    await clock.pass(2 * refreshMs);
    await version();
    await soon();
    assert.equal((await rejection(version())).reason, reason);
    assert.equal(key.counts.closed, 1);
    key.onOpen = () => {};
    await clock.pass(6_000);
    assert.ok(await version(), 'mended, it is found again');
  });
}

test('a protection level that the backend no longer states ends the use of the key', async (t) => {
  const clock = clockOf(t);
  const key = await scriptedKey('k', { refreshMs, requireProtection: 'hsm' });
  key.facts = { protectionLevel: 'hsm' };
  const ring = createKeyring([key]);
  t.after(() => ring.close());
  const sign = () => ring.sign('k', message, lasting());
  await sign();
  key.facts = { protectionLevel: 'software' };
  await clock.pass(2 * refreshMs);
  await sign();
  await soon();
  assert.equal((await rejection(sign())).reason, 'PROTECTION_LEVEL');
});

test('a version does not sign after its end, and the key is opened anew at that moment', async (t) => {
  const { clock, key, version } = await world(t);
  const { description } = key.key;
  const validUntil = new Date(Date.now() + 30_000).toISOString();
  key.facts = { versions: [{ ...description.signing, state: 'enabled', createdAt: undefined, validUntil }] };
  const first = await version();
  await clock.pass(29_000);
  assert.equal(await version(), first);
  key.facts = {};
  key.key = await realKey();
  await clock.pass(2_000);
  assert.equal(await version(), key.key.description.signing.version);
});

test('without a time to refresh, a key is opened once', async (t) => {
  const { clock, key, version } = await world(t, { refreshMs: 0 });
  await version();
  await clock.pass(1_000 * refreshMs);
  await version();
  await soon();
  assert.equal(key.counts.opened, 1);
});

test('many who come at once start one look', async (t) => {
  const { clock, key, version } = await world(t);
  await version();
  await clock.pass(2 * refreshMs);
  await Promise.all(Array.from({ length: 20 }, version));
  await soon();
  assert.equal(key.counts.opened, 2);
});

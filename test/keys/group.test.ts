// A group of keys: who signs, what is passed over, what the caller learns.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate as soon } from 'node:timers/promises';
import { groupSettings } from '../../src/keys/group-settings.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import { createKeyring } from '../../src/keys/keyring.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { message, realKey, refused, type ScriptedKey, scriptedKey, unavailable } from './scripted-key.ts';

type Options = { readonly differ?: boolean; readonly weights?: readonly number[]; readonly agree?: boolean };

/** Three members of one key, unless `differ`; a keyring with the group `release`. */
const world = async (t: TestContext, { differ = false, agree = !differ, weights }: Options = {}) => {
  const members: ScriptedKey[] = [];
  const shared = await realKey();
  for (const name of ['one', 'two', 'three']) {
    const member = await scriptedKey(name);
    if (!differ) member.key = shared;
    members.push(member);
  }
  const [one, two, three] = members as [ScriptedKey, ScriptedKey, ScriptedKey];
  const group = groupSettings.parse({
    name: 'release',
    kind: 'group',
    members: members.map(({ name }, index) => ({ key: name, ...(weights && { weight: weights[index] }) })),
    differentPublicKeys: !agree,
  });
  const ring = createKeyring(members, [group]);
  t.after(() => ring.close());
  const sign = (context = testContext()) => ring.sign('release', message, context);
  return { one, two, three, ring, sign };
};

const failing = (error: CountersignError) => () => Promise.reject(error);

test('the first member signs while it can, under the name of the group', async (t) => {
  const { one, two, ring, sign } = await world(t);
  for (let round = 0; round < 5; round += 1) {
    const { version } = await sign();
    assert.deepEqual([version.key, version.member], ['release', 'one']);
  }
  assert.deepEqual([one.counts.signed, two.counts.signed, two.counts.opened], [5, 0, 0]);
  assert.deepEqual(ring.names(), ['one', 'two', 'three', 'release']);
});

for (const error of [
  unavailable(),
  refused('KEY_DISABLED'),
  refused('KEY_ACCESS_DENIED'),
  new CountersignError('resource_exhausted', 'KEY_THROTTLED', 'slow down'),
  new CountersignError('data_loss', 'KEY_ANSWER_MALFORMED', 'garbage'),
]) {
  test(`after ${error.reason} of one member the next signs, and the answer tells which`, async (t) => {
    const { one, two, sign } = await world(t);
    one.onSign = failing(error);
    assert.equal((await sign()).version.member, 'two');
    assert.equal((await sign()).version.member, 'two');
    assert.equal(one.counts.signed, 1, 'passed over from then on');
    assert.equal(two.counts.signed, 2);
  });
}

test('a member that cannot be opened is passed over', async (t) => {
  const { one, two, sign } = await world(t);
  one.onOpen = failing(unavailable(1));
  two.onOpen = failing(refused('KEY_ACCESS_DENIED'));
  assert.equal((await sign()).version.member, 'three');
});

test('a bad signature of one member never leaves; the next signs', async (t) => {
  const { one, sign } = await world(t);
  const other = await realKey();
  one.key = { ...one.key, sign: other.sign };
  assert.equal((await sign()).version.member, 'two');
});

test('a member that hangs may use half of the time, no more', async (t) => {
  const { one, sign } = await world(t);
  one.onSign = () => new Promise(() => {});
  const owned = openContext('patient', 1_000);
  t.after(owned.dispose);
  const alive = setTimeout(() => {}, 5_000);
  assert.equal((await sign(owned.context)).version.member, 'two');
  clearTimeout(alive);
});

test("what is the request's own fault is not tried with another member", async (t) => {
  const { one, two, sign } = await world(t);
  for (const error of [refused('DIGEST_NOT_SUPPORTED'), new CountersignError('cancelled', 'CANCELLED', 'gone')]) {
    one.onSign = failing(error);
    assert.equal(await rejection(sign()), error);
  }
  assert.equal(two.counts.opened, 0);
  one.onSign = () => {};
  assert.equal((await sign()).version.member, 'one', 'and the member is not passed over for it');
});

test('when every member fails the error is that of the last, and the next request tries them all again', async (t) => {
  const { one, two, three, sign } = await world(t);
  for (const member of [one, two, three]) member.onSign = failing(refused('KEY_DISABLED'));
  assert.equal((await rejection(sign())).reason, 'KEY_DISABLED');
  assert.deepEqual([one.counts.signed, two.counts.signed, three.counts.signed], [1, 1, 1]);
  for (const member of [one, two, three]) member.onOpen = failing(unavailable(1));
  const error = await rejection(sign());
  assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_GROUP_DOWN']);
  for (const name of ['one', 'two', 'three']) assert.match(error.message, new RegExp(`${name}: down`));
  assert.ok((error.retryAfterMs ?? 0) > 0);
});

test('a member that is down is looked at in the background and comes back, with longer waits after each failure', async (t) => {
  const { one, sign } = await world(t);
  await sign();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const tick = async (ms: number): Promise<void> => {
    t.mock.timers.tick(ms);
    for (let turn = 0; turn < 20; turn += 1) await soon();
  };
  one.onSign = failing(unavailable());
  one.onOpen = failing(unavailable());
  await sign();
  const opened = one.counts.opened;
  await tick(1_300);
  assert.equal(one.counts.opened, opened + 1, 'looked at after about a second');
  await tick(1_300);
  assert.equal(one.counts.opened, opened + 1, 'the next look takes twice as long');
  await tick(1_300);
  assert.equal(one.counts.opened, opened + 2);
  one.onSign = () => {};
  one.onOpen = () => {};
  assert.equal((await sign()).version.member, 'two');
  await tick(5_100);
  assert.equal((await sign()).version.member, 'one');
});

test('weights share the signatures', async (t) => {
  const { one, two, three, sign } = await world(t, { weights: [1, 2, 1] });
  let next = 0;
  // Every value of a uniform draw, once.
  t.mock.method(Math, 'random', () => (next++ % 100) / 100);
  const before = () => [one.counts.signed, two.counts.signed, three.counts.signed];
  for (let round = 0; round < 100; round += 1) await sign();
  const [a, b, c] = before() as [number, number, number];
  assert.equal(a + b + c, 100);
  assert.ok(a >= 20 && a <= 30 && b >= 45 && b <= 55 && c >= 20 && c <= 30, `${a} ${b} ${c}`);
});

test('a member with another public key does not sign, unless the configuration says that it may', async (t) => {
  const strict = await world(t, { differ: true, agree: true });
  await strict.sign();
  strict.one.onSign = failing(unavailable());
  const error = await rejection(strict.sign());
  assert.equal(error.reason, 'KEY_GROUP_DOWN');
  assert.match(error.message, /two has another public key than one.*differentPublicKeys/);
  assert.deepEqual([strict.two.counts.signed, strict.three.counts.signed], [0, 0]);

  const loose = await world(t, { differ: true });
  const first = await loose.sign();
  loose.one.onSign = failing(unavailable());
  const second = await loose.sign();
  assert.equal(second.version.member, 'two');
  assert.notEqual(second.version.hint, first.version.hint);
});

test('the description names all members, their public keys and who is passed over', async (t) => {
  const { one, three, ring, sign } = await world(t, { differ: true });
  one.onSign = failing(unavailable());
  three.onOpen = failing(refused('KEY_ACCESS_DENIED'));
  await sign();
  const description = await ring.describe('release', testContext());
  assert.equal(description.name, 'release');
  assert.equal(description.signing.member, 'two');
  assert.equal(description.versions.length, 2, 'signatures of both verify');
  assert.ok(description.versions.every(({ key }) => key === 'release'));
  assert.deepEqual(
    description.members?.map(({ name, problem }) => [name, problem]),
    [
      ['one', 'down'],
      ['two', ''],
      ['three', 'refused: KEY_ACCESS_DENIED'],
    ],
  );
});

test('mistakes of a group are found at load', () => {
  const local = (name: string) => ({ name, kind: 'local', generate: 'ecdsa-p256-sha256' });
  const group = (members: unknown[], name = 'g') => ({ name, kind: 'group', members });
  const mistakes = (...keys: unknown[]) =>
    keysSettings.safeParse(keys).error?.issues.map(({ path, message: text }) => `${path.join('.')}: ${text}`);
  assert.deepEqual(mistakes(local('a'), group([{ key: 'a' }, { key: 'b' }])), [
    '1.members.1.key: no key named b is configured',
  ]);
  assert.deepEqual(mistakes(local('a'), group([{ key: 'a' }])), ['1.members: must have at least 2 members']);
  assert.deepEqual(mistakes(local('a'), group([{ key: 'a' }, { key: 'a' }])), [
    '1.members.1.key: a is a member already',
  ]);
  assert.deepEqual(mistakes(local('a'), local('b'), group([{ key: 'a', weight: 1 }, { key: 'b' }])), [
    '2.members.1.weight: must be set, as it is for another member',
  ]);
  const nested = [
    local('a'),
    local('b'),
    group([{ key: 'a' }, { key: 'b' }]),
    group([{ key: 'g' }, { key: 'a' }], 'h'),
  ];
  assert.deepEqual(mistakes(...nested), ['3.members.0.key: g is a group itself: name its members']);
});

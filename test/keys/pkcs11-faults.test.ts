import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestContext, test } from 'node:test';
import type { Key } from '../../src/keys/port.ts';
import { openContext } from '../../src/model/context.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { type Fake, fakeKey, type Faults, rightPin, startFake } from './fake-pkcs11.ts';

const message = { kind: 'message', message: Buffer.from('to be signed') } as const;
const sign = (key: Key, context = testContext()) => key.sign(message, context);

const opened = async (
  t: TestContext,
  more: Parameters<typeof startFake>[1] = {},
): Promise<{ fake: Fake; key: Key }> => {
  const fake = startFake(t, more);
  return { fake, key: await fake.open() };
};

test('one C_Sign a signature, on sessions that are kept', async (t) => {
  const { fake, key } = await opened(t);
  for (let round = 0; round < 5; round++) assert.equal((await sign(key))[0], 0x30, 'DER');
  assert.deepEqual(
    ['C_Initialize', 'C_Login', 'C_OpenSession', 'C_SignInit', 'C_Sign'].map((name) => fake.count(name)),
    [1, 1, 2, 5, 5],
  );
});

test('codes of PKCS#11: each its own error', async (t) => {
  const cases: readonly (readonly [Faults, string, string, boolean])[] = [
    [{ C_Sign: 0x30 }, 'unavailable', 'KEY_UNAVAILABLE', true],
    [{ C_Sign: 0x06 }, 'unavailable', 'KEY_UNAVAILABLE', true],
    [{ C_Sign: 0x02 }, 'resource_exhausted', 'KEY_THROTTLED', true],
    [{ C_SignInit: 0x68 }, 'failed_precondition', 'KEY_UNSUPPORTED', false],
    [{ C_SignInit: 0x70 }, 'failed_precondition', 'KEY_UNSUPPORTED', false],
    [{ C_Sign: 0x80000001 }, 'failed_precondition', 'KEY_REQUEST_REFUSED', false],
  ];
  const { fake, key } = await opened(t);
  for (const [faults, code, reason, again] of cases) {
    fake.fail(faults);
    const before = fake.count('C_SignInit');
    const error = await rejection(sign(key));
    assert.deepEqual([error.code, error.reason, error.retryAfterMs !== undefined], [code, reason, again]);
    assert.match(error.message, /PKCS#11 token "release"/);
    assert.equal(fake.count('C_SignInit') - before, 1, 'one attempt');
    fake.fail({});
    assert.ok(await sign(key), 'the session was not used again');
  }
  assert.equal(fake.processes().length, 1);
});

test('sessions that are lost: a new process, one login, once more', async (t) => {
  for (const code of [0xb3, 0xb0, 0x32, 0xe0, 0x101, 0x60]) {
    const { fake, key } = await opened(t);
    fake.fail({ C_SignInit: code });
    const error = await rejection(sign(key));
    assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
    assert.ok(error.retryAfterMs !== undefined);
    assert.deepEqual([fake.count('C_SignInit'), fake.count('C_Login')], [2, 2]);
    fake.fail({});
    await sleep(error.retryAfterMs + 300);
    assert.ok(await sign(key), 'well again');
    assert.equal(fake.processes().length, 3);
  }
});

test('a process that ends: this request fails, the next has another', async (t) => {
  const { fake, key } = await opened(t);
  fake.fail({ C_Sign: 'exit' });
  const all = await Promise.all([1, 2, 3].map(() => rejection(sign(key))));
  for (const error of all) assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(String(all[0]?.cause), /status 3/);
  fake.fail({});
  assert.ok(await sign(key));
  assert.equal(fake.processes().length, 2);
});

test('one that ends every time is started ever more seldom', async (t) => {
  const { fake, key } = await opened(t);
  fake.fail({ C_Sign: 'exit' });
  for (let round = 0; round < 20; round++) assert.equal((await rejection(sign(key))).code, 'unavailable');
  assert.ok(fake.processes().length <= 3, `${fake.processes().length} processes`);
  assert.ok(((await rejection(sign(key))).retryAfterMs ?? 0) > 0);
});

test('a module that hangs is given up, and the deadline holds before', async (t) => {
  const fake = startFake(t, {}, 1_500);
  const key = await fake.open();
  fake.fail({ C_Sign: 'hang' });
  const hanging = rejection(sign(key));
  const short = await rejection(sign(key, openContext('short', 200).context));
  assert.equal(short.code, 'deadline_exceeded');
  const error = await hanging;
  assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(String(error.cause), /SIGKILL/);
  fake.fail({});
  assert.ok(await sign(key));
});

test('a wrong PIN is tried once, whoever opens the key, until it changes', async (t) => {
  const fake = startFake(t);
  const pinFile = join(fake.folder, 'pin');
  writeFileSync(pinFile, 'wrong-pin-secret\n');
  const more = { pin: undefined, pinFile };
  for (let round = 0; round < 3; round++) {
    const error = await rejection(fake.open(more));
    assert.deepEqual(
      [error.code, error.reason, error.retryAfterMs],
      ['failed_precondition', 'KEY_ACCESS_DENIED', undefined],
    );
    assert.match(error.message, /not tried again before it changes/);
    assert.doesNotMatch(`${error.stack} ${String(error.cause)}`, /wrong-pin-secret/);
  }
  assert.equal(fake.count('C_Login'), 1);
  assert.equal((await rejection(fake.open({ ...more, serial: '007', token: undefined }))).reason, 'KEY_ACCESS_DENIED');
  assert.equal(fake.count('C_Login'), 1, 'the same token by another name');
  writeFileSync(pinFile, rightPin);
  assert.ok(await sign(await fake.open(more)));
  assert.equal(fake.count('C_Login'), 2);
});

test('no login is tried where it would lock the token, or cannot help', async (t) => {
  const cases: readonly (readonly [object, object, RegExp])[] = [
    [{ flags: 0x2040d }, {}, /one more wrong try.*log in once by hand/],
    [{ flags: 0x4040d }, {}, /PIN is locked/],
    [{ flags: 0x405 }, {}, /no user PIN yet/],
    [{}, { pin: undefined }, /wants a login: set pinFile/],
  ];
  for (const [token, more, words] of cases) {
    const fake = startFake(t, token);
    const error = await rejection(fake.open(more));
    assert.equal(error.reason, 'KEY_ACCESS_DENIED');
    assert.match(error.message, words);
    assert.equal(fake.count('C_Login'), 0);
  }
  const fake = startFake(t, { flags: 0x401 });
  assert.ok(await sign(await fake.open({ pin: undefined })), 'a token that needs no login');
  assert.equal(fake.count('C_Login'), 0);
});

test('what is missing or ambiguous is told with what there is', async (t) => {
  const keys = [fakeKey('one', '01'), fakeKey('one', '02'), fakeKey('two', '03')];
  const fake = startFake(t, { labels: ['release', 'twice', 'twice'], keys });
  const cases: readonly (readonly [object, string, RegExp])[] = [
    [{}, 'KEY_AMBIGUOUS', /name one by id.*id 01; .*id 02/],
    [{ label: 'three' }, 'KEY_NOT_FOUND', /label "one", id 01; .*label "two", id 03/],
    [{ token: 'other' }, 'KEY_TOKEN_NOT_FOUND', /"release", serial 007, slot 7; "twice", serial 008, slot 8/],
    [{ token: 'twice' }, 'KEY_TOKEN_AMBIGUOUS', /name its serial number.*008.*009/],
    [{ module: '/not-built' }, 'PKCS11_NOT_BUILT', /npm run build:pkcs11/],
    [{ module: '/nonexistent.so' }, 'PKCS11_MODULE_UNUSABLE', /cannot open shared object file.*check the path/],
  ];
  for (const [more, reason, words] of cases) {
    const error = await rejection(fake.open(more));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', reason]);
    assert.match(error.message, words);
  }
  for (const more of [{ id: '02' }, { label: undefined, id: '03' }, { label: 'two', token: undefined, slot: 7 }]) {
    assert.ok(await sign(await fake.open(more)), JSON.stringify(more));
  }
  fake.change({ withoutMechanism: true });
  const other = startFake(t, { withoutMechanism: true });
  assert.match((await rejection(other.open())).message, /does not sign with CKM_ECDSA/);
});

test('sessions stay within maxSessions, what the token says, and what it opens', async (t) => {
  const cases = [
    [{}, 8, 8],
    [{}, 3, 3],
    [{ maxSessions: 4 }, 8, 4],
    [{ maxSessions: 1 }, 8, 1],
    [{ roomFor: 3 }, 8, 4],
  ] as const;
  for (const [token, maxSessions, most] of cases) {
    const fake = startFake(t, token);
    fake.fail({ C_Sign: 'slow' });
    const key = await fake.open({ maxSessions });
    // The first ones tell that the token is slow, so that the others go on threads.
    for (let round = 0; round < 32; round++) await sign(key);
    const signed = await Promise.all(Array.from({ length: 64 }, () => sign(key)));
    assert.equal(new Set(signed.map((each) => Buffer.from(each).toString('hex'))).size, 64);
    assert.ok(fake.count('C_OpenSession') <= most, `${fake.count('C_OpenSession')} sessions of ${most}`);
    // The first of them was alone when it was asked for.
    const onThreads = fake.count('C_Sign', 'thread');
    if (most > 1) assert.ok(onThreads >= 63, `${onThreads} on threads`);
    await sign(key);
    assert.equal(fake.count('C_Sign', 'thread'), onThreads, 'one that is alone needs no thread');
    if (most >= 3) assert.ok(fake.count('C_OpenSession') > 2, 'more than one at a time');
  }
});

test('keys of one token share its process and login; the last one ends it', async (t) => {
  const fake = startFake(t, { keys: [fakeKey('one', '01'), fakeKey('two', '02')] });
  const keys = [await fake.open(), await fake.open({ label: 'two' }), await fake.open()];
  for (const key of keys) await sign(key);
  assert.deepEqual([fake.processes().length, fake.count('C_Login')], [1, 1]);
  const [pid] = fake.processes();
  await keys[0]?.close();
  await keys[1]?.close();
  assert.ok(process.kill(pid ?? 0, 0), 'still there');
  await keys[2]?.close();
  assert.throws(() => process.kill(pid ?? 0, 0), /ESRCH/);
});

test('another key in the place of the one that was opened does not sign', async (t) => {
  const { fake, key } = await opened(t);
  fake.change({ keys: [fakeKey('one', '01')] });
  fake.fail({ C_Sign: 'exit' });
  await rejection(sign(key));
  fake.fail({});
  const error = await rejection(sign(key));
  assert.deepEqual([error.code, error.reason], ['data_loss', 'KEY_VERSION_MISMATCH']);
  assert.equal(fake.count('C_SignInit'), 1, 'nothing was signed');
  const again = await fake.open();
  assert.notEqual(again.description.signing.version, key.description.signing.version);
  assert.ok(await sign(again));
});

test('a token that went away is waited for; a request that was cancelled does not sign', async (t) => {
  const { fake, key } = await opened(t);
  fake.change({ labels: [] });
  fake.fail({ C_SignInit: 0xe0 });
  const error = await rejection(sign(key));
  assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(error.message, /not there any more/);
  assert.ok((error.retryAfterMs ?? 0) >= 1_000);

  const other = await opened(t, { maxSessions: 2 });
  other.fake.fail({ C_Sign: 'slow' });
  for (let round = 0; round < 32; round++) await sign(other.key);
  const before = other.fake.count('C_SignInit');
  const owned = openContext('cancelled', 10_000);
  const many = Array.from({ length: 20 }, () => rejection(sign(other.key, owned.context)));
  owned.cancel();
  for (const each of await Promise.all(many)) assert.equal(each.code, 'cancelled');
  await sign(other.key);
  assert.ok(other.fake.count('C_SignInit') - before <= 3, 'what had not begun never did');
});

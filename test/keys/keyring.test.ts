import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createKeyring, type KeyEntry, openKeyring } from '../../src/keys/keyring.ts';
import { openLocalKey } from '../../src/keys/local.ts';
import { localSettings } from '../../src/keys/local/settings.ts';
import type { Key } from '../../src/keys/port.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';

const message = { kind: 'message', message: Buffer.from('m') } as const;
const realKey = (): Promise<Key> =>
  openLocalKey(localSettings.parse({ name: 'k', kind: 'local', generate: 'ecdsa-p256-sha256' }));
const opener = (open: KeyEntry['open'], more: Partial<KeyEntry> = {}): KeyEntry => ({
  name: 'k',
  requireProtection: undefined,
  open,
  ...more,
});
const down = new CountersignError('unavailable', 'KEY_UNAVAILABLE', 'down', { retryAfterMs: 1 });

test('opening is lazy, shared by all who wait, and happens once', async () => {
  let opened = 0;
  const ring = createKeyring([
    opener(() => {
      opened += 1;
      return realKey();
    }),
  ]);
  assert.equal(opened, 0);
  await Promise.all(Array.from({ length: 10 }, () => ring.sign('k', message, testContext())));
  await ring.describe('k', testContext());
  assert.equal(opened, 1);
});

test('a failure is remembered for five seconds, then tried again', async (t: TestContext) => {
  let now = performance.now();
  t.mock.method(performance, 'now', () => now);
  let opened = 0;
  const ring = createKeyring([
    opener(async () => {
      opened += 1;
      if (opened === 1) throw down;
      return realKey();
    }),
  ]);
  const context = { ...testContext(), deadline: Number.POSITIVE_INFINITY };
  for (const passed of [0, 4900]) {
    now += passed;
    const error = await rejection(ring.sign('k', message, context));
    assert.deepEqual([error.code, error.reason, error.message], [down.code, down.reason, down.message]);
    assert.equal(error.retryAfterMs, 5_000, 'the caller is told to wait as long');
  }
  assert.equal(opened, 1);
  now += 200;
  assert.ok(await ring.sign('k', message, context));
  assert.equal(opened, 2);
});

test('closing ends an opening that hangs', async () => {
  const ring = createKeyring([
    opener(({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))),
  ]);
  const refused = rejection(ring.sign('k', message, testContext()));
  const started = performance.now();
  await ring.close();
  assert.ok(performance.now() - started < 1_000);
  assert.equal((await refused).code, 'cancelled');
});

test('a key that is forgotten is closed after the last of its signatures, not under them', async () => {
  const gone = new CountersignError('failed_precondition', 'KEY_NOT_FOUND', 'gone');
  const { description, ...real } = await realKey();
  const slow = Promise.withResolvers<void>();
  let signatures = 0;
  let closed = 0;
  const first: Key = {
    description,
    sign: async (toSign, context) => {
      signatures += 1;
      if (signatures === 2) throw gone;
      await slow.promise;
      assert.equal(closed, 0);
      return real.sign(toSign, context);
    },
    close: async () => {
      closed += 1;
    },
  };
  let opened = 0;
  const ring = createKeyring([
    opener(async () => {
      opened += 1;
      return opened === 1 ? first : realKey();
    }),
  ]);
  const patient = ring.sign('k', message, testContext());
  assert.equal(await rejection(ring.sign('k', message, testContext())), gone);
  await ring.sign('k', message, testContext());
  assert.deepEqual([opened, closed], [2, 0]);
  slow.resolve();
  await patient;
  assert.equal(closed, 1);
  await ring.close();
  assert.equal(closed, 1);
});

test('a request that ends does not end the opening that others wait for', async () => {
  const gate = Promise.withResolvers<Key>();
  const ring = createKeyring([opener(() => gate.promise)]);
  const patient = ring.sign('k', message, testContext());
  const owned = openContext('hasty', 10_000);
  const hasty = rejection(ring.sign('k', message, owned.context));
  owned.cancel();
  assert.equal((await hasty).code, 'cancelled');
  gate.resolve(await realKey());
  assert.ok(await patient);
});

test('a signature by another key never leaves', async () => {
  const [key, other] = await Promise.all([realKey(), realKey()]);
  const ring = createKeyring([opener(async () => ({ ...key, sign: other.sign }))]);
  const error = await rejection(ring.sign('k', message, testContext()));
  assert.deepEqual([error.code, error.reason], ['data_loss', 'BAD_SIGNATURE']);
  assert.equal(error.metadata['version'], key.description.signing.version);
});

test('a signature of something else never leaves', async () => {
  const key = await realKey();
  const ring = createKeyring([
    opener(async () => ({
      ...key,
      sign: (_, context) => key.sign({ kind: 'message', message: Buffer.from('other') }, context),
    })),
  ]);
  assert.equal((await rejection(ring.sign('k', message, testContext()))).reason, 'BAD_SIGNATURE');
});

test('a key that is guarded less than declared is not used, and is closed', async () => {
  let closed = 0;
  const key = await realKey();
  const ring = createKeyring([
    opener(
      async () => ({
        ...key,
        close: async () => {
          closed += 1;
        },
        sign: () => assert.fail('was used'),
      }),
      { requireProtection: 'hsm' },
    ),
  ]);
  const error = await rejection(ring.sign('k', message, testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'PROTECTION_LEVEL']);
  assert.match(error.message, /level hsm.*states software/);
  assert.equal(closed, 1);
});

test('protection levels are ordered', async () => {
  const key = await realKey();
  const description = { ...key.description, protectionLevel: 'fips-140-2-l3' } as const;
  const outcomes = await Promise.all(
    (['software', 'hsm', 'fips-140-2-l2', 'fips-140-2-l3', 'fips-140-3-l3'] as const).map((requireProtection) =>
      createKeyring([opener(async () => ({ ...key, description }), { requireProtection })]).warm(testContext()),
    ),
  );
  assert.deepEqual(
    outcomes.map((failed) => failed.length),
    [0, 0, 0, 0, 1],
  );
});

test('warming opens every key and names those that failed', async () => {
  const ring = createKeyring([
    opener(realKey, { name: 'good' }),
    opener(() => Promise.reject(down), { name: 'down' }),
    opener(() => Promise.reject(new TypeError('a bug')), { name: 'broken' }),
  ]);
  const failed = await ring.warm(testContext());
  assert.deepEqual(
    failed.map(({ name, error }) => [name, error.code]),
    [
      ['down', 'unavailable'],
      ['broken', 'internal'],
    ],
  );
  assert.deepEqual(ring.names(), ['good', 'down', 'broken']);
});

test('after a disabled version the key is closed and opened anew', async () => {
  let opened = 0;
  let closed = 0;
  const disabled = new CountersignError('failed_precondition', 'KEY_VERSION_DISABLED', 'disabled');
  const ring = createKeyring([
    opener(async () => {
      opened += 1;
      const key = await realKey();
      const close = async (): Promise<void> => {
        closed += 1;
      };
      return opened === 1 ? { ...key, close, sign: () => Promise.reject(disabled) } : key;
    }),
  ]);
  assert.equal(await rejection(ring.sign('k', message, testContext())), disabled);
  assert.ok(await ring.sign('k', message, testContext()));
  assert.deepEqual([opened, closed], [2, 1]);
});

test('closing closes what is open, also while it opens, and nothing opens after', async () => {
  let closed = 0;
  const gate = Promise.withResolvers<Key>();
  const ring = createKeyring([opener(() => gate.promise), opener(realKey, { name: 'never' })]);
  const warming = rejectionOrNothing(ring.describe('k', testContext()));
  const closing = ring.close();
  gate.resolve({
    ...(await realKey()),
    close: async () => {
      closed += 1;
    },
  });
  await Promise.all([closing, warming]);
  assert.equal(closed, 1);
  assert.equal((await rejection(ring.sign('never', message, testContext()))).reason, 'SHUTTING_DOWN');
});

const rejectionOrNothing = (work: Promise<unknown>): Promise<unknown> => work.catch(() => undefined);

test('a thousand configured keys cost nothing until they are used', async () => {
  const settings = Array.from({ length: 1000 }, (_, index) =>
    keySettings.parse({
      name: `key-${index}`,
      kind: 'vault',
      address: 'https://vault.invalid',
      key: 'k',
      login: { method: 'token', token: 't' },
    }),
  );
  const ring = openKeyring(settings, { createHttp: () => assert.fail('was opened') });
  assert.equal(ring.names().length, 1000);
  await ring.close();
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { algorithms } from '../../src/keys/algorithms.ts';
import { signOffLoop, verifyOffLoop } from '../../src/keys/crypto-thread.ts';
import {
  type Operation,
  type Outcome,
  readOperations,
  readOutcomes,
  writeOperations,
  writeOutcomes,
} from '../../src/keys/crypto-thread/wire.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';

const pairs: readonly (readonly [AlgorithmName, { readonly privateKey: KeyObject; readonly publicKey: KeyObject }])[] =
  [
    ['ecdsa-p256-sha256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['ecdsa-p384-sha384', generateKeyPairSync('ec', { namedCurve: 'P-384' })],
    ['ed25519', generateKeyPairSync('ed25519')],
    ['rsa-pkcs1v15-2048-sha256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ];

/** Both sides of what goes through a thread, through the pool when it is alone, and what is too long for a thread. */
const lengths = [0, 1, 200, 16 * 1024, 16 * 1024 + 1, 1_000_000];

/** Until then all goes to the pool. Another test of this process may have had it started. */
const threadIsReady = async (): Promise<void> => {
  let online: Promise<unknown> | undefined;
  process.once('worker', (worker) => {
    online = once(worker, 'online');
  });
  const { privateKey } = generateKeyPairSync('ed25519');
  const sign = () => signOffLoop(algorithms.ed25519, privateKey, randomBytes(9));
  await Promise.all([sign(), sign()]);
  await online;
};

describe('off the event loop', () => {
  before(threadIsReady);

  for (const [name, { privateKey, publicKey }] of pairs) {
    const algorithm = algorithms[name];
    const hash = algorithm.hash ?? null;

    test(`${name}: many at once, each gets its own signature and its own verdict`, async () => {
      const messages = [...lengths, ...Array.from({ length: 94 }, () => 64)].map((length) => randomBytes(length));
      const signatures = await Promise.all(messages.map((message) => signOffLoop(algorithm, privateKey, message)));
      for (const [index, message] of messages.entries()) {
        assert.ok(verify(hash, message, publicKey, signatures[index] ?? Buffer.alloc(0)), `of message ${index}`);
      }
      const verdicts = messages.map((message, index) => {
        // Every third verdict is asked for over the message before it.
        const over = index % 3 === 0 ? (messages[index - 1] ?? randomBytes(9)) : message;
        return verifyOffLoop(algorithm, publicKey, over, signatures[index] ?? Buffer.alloc(0));
      });
      assert.deepEqual(
        await Promise.all(verdicts),
        messages.map((_, index) => index % 3 !== 0),
      );
    });

    test(`${name}: no bytes are no signature, alone and among others`, async () => {
      const message = randomBytes(20);
      const nothing = Buffer.alloc(0);
      assert.equal(await verifyOffLoop(algorithm, publicKey, message, nothing), false);
      const good = sign(hash, message, privateKey);
      const verdicts = [nothing, good, nothing].map((signature) =>
        verifyOffLoop(algorithm, publicKey, message, signature),
      );
      assert.deepEqual(await Promise.all(verdicts), [false, true, false]);
    });

    test(`${name}: what cannot be done is an error of its own, and the others get theirs`, async () => {
      const message = randomBytes(20);
      const outcomes = await Promise.allSettled(
        [privateKey, publicKey, privateKey].map((key) => signOffLoop(algorithm, key, message)),
      );
      assert.deepEqual(
        outcomes.map(({ status }) => status),
        ['fulfilled', 'rejected', 'fulfilled'],
      );
    });
  }
});

/** A process that signs 50 messages at once, again and again for a while, and says how often. */
const signing = async (before: string): Promise<readonly string[]> => {
  const module = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  const program = `
    import { generateKeyPairSync, verify } from 'node:crypto';
    const { algorithms } = await import(${module('../../src/keys/algorithms.ts')});
    const { signOffLoop } = await import(${module('../../src/keys/crypto-thread.ts')});
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    let threads = 0;
    process.on('worker', (worker) => {
      threads += 1;
      ${before}
    });
    let good = 0;
    for (const end = performance.now() + 1_000; performance.now() < end; ) {
      const messages = Array.from({ length: 50 }, (_, index) => Buffer.alloc(50, index));
      const sign = (message) => signOffLoop(algorithms['ecdsa-p256-sha256'], privateKey, message);
      const made = await Promise.all(messages.map(sign));
      if (made.every((signature, index) => verify('sha256', messages[index], publicKey, signature))) good += 1;
      else throw new Error('a bad signature');
    }
    console.log(good > 0 ? 'good' : 'none', threads);`;
  const options = { timeout: 60_000 };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], options);
  return stdout.trim().split(' ');
};

test('a process ends although it has signed in a thread, and not before it has', async () => {
  assert.deepEqual(await signing(''), ['good', '1']);
});

for (const [when, ends] of [
  ['before it has begun', 'worker.terminate();'],
  ['once it is there', "worker.once('online', () => worker.terminate());"],
  ['while it is at work', "worker.once('online', () => setTimeout(() => worker.terminate(), 100));"],
] as const) {
  test(`a thread that ends ${when}: what it has not done is done elsewhere, and no other follows at once`, async () => {
    assert.deepEqual(await signing(ends), ['good', '1']);
  });
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));

test('operations and outcomes arrive as they were sent', () => {
  const operation: fc.Arbitrary<Operation> = fc.record(
    { key: fc.nat(0xffffffff), message: bytes, signature: fc.option(bytes, { nil: undefined }) },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(operation), (operations) => {
      assert.deepEqual(readOperations(writeOperations(operations)), operations);
    }),
  );
  const outcome: fc.Arbitrary<Outcome> = fc.oneof(
    bytes,
    fc.boolean(),
    fc.string({ unit: 'grapheme' }).map((message) => new Error(message)),
  );
  const shown = (outcomes: readonly Outcome[]): readonly unknown[] =>
    outcomes.map((one) => (one instanceof Error ? `Error: ${one.message}` : one));
  fc.assert(
    fc.property(fc.array(outcome), (outcomes) => {
      assert.deepEqual(shown(readOutcomes(writeOutcomes(outcomes))), shown(outcomes));
    }),
  );
});

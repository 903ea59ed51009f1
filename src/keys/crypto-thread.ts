import { KeyObject, sign, type SignKeyObjectInput, verify, type VerifyKeyObjectInput } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { Algorithm } from './algorithms.ts';
import type { ToThread } from './crypto-thread/thread.ts';
import { type Operation, type Outcome, readOutcomes, writeOperations } from './crypto-thread/wire.ts';

/*
 * Signatures and verifications off the event loop. A trip to the pool's threads and back costs the loop some 10 us for each, as
 * much as half a signature by P-256; so those that take less than 0.1 ms go to a thread of their own, many in one message, as
 * soon as there are several at once. The others, and whoever is alone, go to the pool.
 */

type Settle = (outcome: Outcome) => void;
type InPool = (done: (error: Error | null, outcome: Buffer | boolean) => void) => void;
type Job = Operation & { readonly settle: Settle; readonly inPool: InPool };

/** A full block goes at once, so that the thread works while the loop goes on with the next requests. */
const blockSize = 16;

/** Of the thread, MB. Of 2 it collects so often that the service does a twelfth less. */
const maxYoungGenerationSizeMb = 12;

/** Hashing more takes longer than a trip to the pool, and the others of its block would wait for it. */
const maxMessageBytes = 16 * 1024;

/** How long none is started after one that ended, which none should: milliseconds. The pool does for all meanwhile. */
const restMs = 60_000;

type CryptoThread = {
  perform(
    key: KeyObject,
    hash: string | null,
    message: Uint8Array,
    signature: Uint8Array | undefined,
    settle: Settle,
    inPool: InPool,
  ): void;
};

/** `onReady`: it takes some 40 ms until it can be used. `onEnd`: it could not be started, or was ended. */
const startThread = (onReady: (thread: CryptoThread) => void, onEnd: () => void): void => {
  const worker = new Worker(new URL('crypto-thread/thread.ts', import.meta.url), {
    name: 'crypto',
    // What this process was started with (`--eval`, an inspector) is not for the thread.
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb },
  });
  const post = (message: ToThread): void => worker.postMessage(message);
  const ids = new WeakMap<KeyObject, number>();
  let lastId = 0;
  const unused = new FinalizationRegistry<number>((id) => post({ forget: id }));
  let waiting: Job[] = [];
  /** Blocks that the thread has, in their order. */
  const sent: Job[][] = [];

  const idOf = (key: KeyObject, hash: string | null): number => {
    const known = ids.get(key);
    if (known !== undefined) return known;
    lastId += 1;
    ids.set(key, lastId);
    unused.register(key, lastId);
    post({ id: lastId, key, hash });
    return lastId;
  };

  const flush = (): void => {
    if (waiting.length === 0) return;
    const jobs = waiting;
    waiting = [];
    if (sent.push(jobs) === 1) worker.ref();
    const block = writeOperations(jobs);
    worker.postMessage(block, [block]);
  };

  worker.on('message', (block: ArrayBuffer) => {
    const outcomes = readOutcomes(block);
    const jobs = sent.shift() ?? [];
    if (sent.length === 0) worker.unref();
    for (const [index, { settle }] of jobs.entries()) {
      settle(outcomes[index] ?? new Error('the thread left an operation out'));
    }
  });
  // It says why only to whoever listens for errors, and nobody needs to know: what it has not done is done in the pool.
  worker.on('error', () => undefined);
  worker.once('exit', () => {
    onEnd();
    for (const { settle, inPool } of [...sent.splice(0).flat(), ...waiting.splice(0)]) finishInPool(settle, inPool);
  });
  worker.unref();

  const perform: CryptoThread['perform'] = (key, hash, message, signature, settle, inPool) => {
    // What is asked for in one turn of the loop goes together.
    if (waiting.length === 0) process.nextTick(flush);
    if (waiting.push({ key: idOf(key, hash), message, signature, settle, inPool }) === blockSize) flush();
  };
  worker.once('online', () => onReady({ perform }));
};

const finishInPool = (settle: Settle, inPool: InPool): void => inPool((error, outcome) => settle(error ?? outcome));

let thread: CryptoThread | undefined;
/** `performance.now()` before which none is started; Infinity while there is one. */
let startsFrom = 0;

/** Operations that have not ended, in the pool or in the thread. */
let underWay = 0;

/** Undefined: it belongs into the pool. */
const threadFor = ({ name }: Algorithm, message: Uint8Array): CryptoThread | undefined => {
  if (underWay < 2 || message.length > maxMessageBytes) return undefined;
  if (name !== 'ecdsa-p256-sha256' && name !== 'ed25519') return undefined;
  if (thread === undefined && startsFrom !== Number.POSITIVE_INFINITY && performance.now() >= startsFrom) {
    startsFrom = Number.POSITIVE_INFINITY;
    startThread(
      (ready) => {
        thread = ready;
      },
      () => {
        thread = undefined;
        startsFrom = performance.now() + restMs;
      },
    );
  }
  return thread;
};

const run = <T extends Buffer | boolean>(
  algorithm: Algorithm,
  input: KeyObject | SignKeyObjectInput | VerifyKeyObjectInput,
  message: Uint8Array,
  signature: Uint8Array | undefined,
  inPool: (done: (error: Error | null, outcome: T) => void) => void,
): Promise<T> =>
  new Promise((resolve, reject) => {
    underWay += 1;
    const settle = (outcome: T | Error): void => {
      underWay -= 1;
      if (outcome instanceof Error) reject(outcome);
      else resolve(outcome);
    };
    const place = input instanceof KeyObject ? threadFor(algorithm, message) : undefined;
    if (place === undefined) finishInPool(settle as Settle, inPool as InPool);
    else {
      const hash = algorithm.hash ?? null;
      place.perform(input as KeyObject, hash, message, signature, settle as Settle, inPool as InPool);
    }
  });

/** node:crypto's `sign` off the event loop -> the signature as it makes it. Rejects with its error. Safe concurrently. */
export const signOffLoop = (
  algorithm: Algorithm,
  input: KeyObject | SignKeyObjectInput,
  message: Uint8Array,
): Promise<Buffer> =>
  run<Buffer>(algorithm, input, message, undefined, (done) => sign(algorithm.hash ?? null, message, input, done));

/** node:crypto's `verify` off the event loop. Rejects with its error. Safe concurrently. */
export const verifyOffLoop = (
  algorithm: Algorithm,
  input: KeyObject | VerifyKeyObjectInput,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> =>
  run<boolean>(algorithm, input, message, signature, (done) =>
    verify(algorithm.hash ?? null, message, input, signature, done),
  );

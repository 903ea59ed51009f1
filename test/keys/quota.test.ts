import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getEventListeners } from 'node:events';
import { mock, test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { CountersignError } from '../../src/model/error.ts';
import { ask, never, onMockClock, open, request } from './quota-world.ts';

const refusal = (work: () => unknown): CountersignError => {
  try {
    work();
  } catch (caught) {
    if (caught instanceof CountersignError) return caught;
  }
  return assert.fail('was not refused');
};

test(
  'a free place is taken at once, without a promise; one that is given back serves who waits',
  onMockClock(async () => {
    const quota = open({ maxConcurrent: 1 });
    const release = quota.acquire('a', never);
    assert.ok(typeof release === 'function');
    const log: string[] = [];
    ask(quota, 'b', log);
    assert.equal(quota.depth(), 1);
    release();
    await settled();
    assert.deepEqual(log, ['b']);
    assert.equal(quota.depth(), 0);
  }),
);

test('without limits nothing waits', () => {
  const quota = open({});
  for (let count = 0; count < 1_000; count++) assert.equal(typeof quota.acquire('a', never, 100), 'function');
});

test(
  'the rate: a burst, then one each so often, and the bucket fills no further than the burst',
  onMockClock(async () => {
    const quota = open({ perSecond: 10, burst: 2 });
    const log: string[] = [];
    for (const label of ['1', '2', '3', '4']) ask(quota, 'a', log, { label });
    await settled();
    assert.deepEqual(log, ['1', '2']);
    mock.timers.tick(99);
    await settled();
    assert.equal(log.length, 2);
    mock.timers.tick(1);
    await settled();
    assert.deepEqual(log, ['1', '2', '3']);
    mock.timers.tick(100);
    await settled();
    assert.equal(log.length, 4);
    mock.timers.tick(3_600_000);
    for (const label of ['5', '6', '7']) ask(quota, 'a', log, { label });
    await settled();
    assert.deepEqual(log.slice(4), ['5', '6']);
  }),
);

test(
  'more than the burst at once waits for a full bucket and overdraws it; nobody slips past',
  onMockClock(async () => {
    const quota = open({ perSecond: 10, burst: 5 });
    const log: string[] = [];
    ask(quota, 'a', log, { weight: 1, label: 'one' });
    ask(quota, 'a', log, { weight: 20, label: 'twenty' });
    ask(quota, 'b', log, { weight: 1, label: 'after' });
    await settled();
    assert.deepEqual(log, ['one']);
    mock.timers.tick(100);
    await settled();
    assert.deepEqual(log, ['one', 'twenty']);
    mock.timers.tick(1_599);
    await settled();
    assert.equal(log.length, 2);
    mock.timers.tick(1);
    await settled();
    assert.deepEqual(log, ['one', 'twenty', 'after']);
  }),
);

test(
  'callers take turns: one that asks ten thousand times does not starve another',
  onMockClock(async () => {
    const quota = open({ maxConcurrent: 1, maxQueued: 20_000 });
    const log: string[] = [];
    const release = await quota.acquire('first', never);
    for (let count = 0; count < 10_000; count++) ask(quota, 'greedy', log);
    for (const label of ['b1', 'b2']) ask(quota, 'b', log, { label });
    ask(quota, 'c', log);
    for (let count = 0; count < 7; count++) release();
    await settled();
    assert.deepEqual(log, ['greedy', 'b1', 'c', 'greedy', 'b2', 'greedy', 'greedy']);
  }),
);

test(
  'when the queue is full: refused at once with the wait that is to be expected',
  onMockClock(async () => {
    const quota = open({ perSecond: 2, burst: 1, maxQueued: 4 });
    const log: string[] = [];
    for (let count = 0; count < 5; count++) ask(quota, 'a', log);
    const error = refusal(() => quota.acquire('a', never));
    assert.equal(error.code, 'resource_exhausted');
    assert.equal(error.reason, 'KEY_QUOTA');
    assert.equal(error.retryAfterMs, 2_500);
    assert.deepEqual(error.metadata, { key: 'release', waiting: '4' });
    assert.match(error.message, /release/);
    await settled();
    // It keeps what it says: then the same caller is served.
    for (let count = 0; count < 5; count++) mock.timers.tick(500);
    ask(quota, 'a', log, { label: 'again' });
    await settled();
    assert.equal(log.at(-1), 'again');
  }),
);

test(
  'where only calls are bounded, the wait is told by how fast the queue was lately',
  onMockClock(async () => {
    const quota = open({ maxConcurrent: 1, maxQueued: 10 });
    const log: string[] = [];
    const release = await quota.acquire('a', never);
    for (let count = 0; count < 10; count++) ask(quota, 'a', log);
    assert.equal(refusal(() => quota.acquire('a', never)).retryAfterMs, 1_000, 'nothing is known yet');
    for (let count = 0; count < 5; count++) {
      mock.timers.tick(300);
      release();
      ask(quota, 'a', log);
    }
    assert.equal(refusal(() => quota.acquire('a', never)).retryAfterMs, 11 * 300);
  }),
);

test(
  'when the queue is full, whoever has most in it makes room for who has fewer, newest first',
  onMockClock(async () => {
    const quota = open({ maxConcurrent: 1, maxQueued: 4 });
    const log: string[] = [];
    const release = await quota.acquire('x', never);
    for (const label of ['a1', 'a2', 'a3', 'a4']) ask(quota, 'a', log, { label });
    for (const label of ['b1', 'b2', 'b3']) ask(quota, 'b', log, { label });
    ask(quota, 'c', log);
    ask(quota, 'd', log);
    await settled();
    assert.deepEqual(log.toSorted(), [
      'a2: KEY_QUOTA',
      'a3: KEY_QUOTA',
      'a4: KEY_QUOTA',
      'b2: KEY_QUOTA',
      'b3: KEY_QUOTA',
    ]);
    // All have one now: a fifth caller would gain only what another loses.
    assert.equal(refusal(() => quota.acquire('e', never)).reason, 'KEY_QUOTA');
    log.length = 0;
    for (let count = 0; count < 4; count++) release();
    await settled();
    assert.deepEqual(log, ['a1', 'b1', 'c', 'd']);
  }),
);

test(
  'a deadline that the rate cannot meet is refused at once; the wait of others does not count against a modest caller',
  onMockClock(async () => {
    const quota = open({ perSecond: 10, burst: 1 });
    const log: string[] = [];
    for (let count = 0; count < 51; count++) ask(quota, 'greedy', log);
    const error = refusal(() => quota.acquire('greedy', request(300).context));
    assert.equal(error.reason, 'KEY_QUOTA');
    assert.equal(error.retryAfterMs, 5_100);
    assert.match(error.message, /deadline/);
    assert.equal(refusal(() => quota.acquire('b', request(200).context)).retryAfterMs, 200);
    ask(quota, 'b', log, { context: request(201).context });
    mock.timers.tick(100);
    mock.timers.tick(100);
    await settled();
    assert.deepEqual(log, ['greedy', 'greedy', 'b']);
  }),
);

test(
  'a request that ends while it waits leaves with its reason, and its place goes to the next',
  onMockClock(async () => {
    const quota = open({ maxConcurrent: 1, maxQueued: 2 });
    const log: string[] = [];
    const release = await quota.acquire('a', never);
    const { context, abort } = request();
    ask(quota, 'b', log, { context });
    ask(quota, 'c', log);
    abort();
    assert.equal(quota.depth(), 1);
    await settled();
    assert.deepEqual(log, ['b: CANCELLED']);
    // A deadline that passed counts, though the timer of its signal is late.
    ask(quota, 'd', log, { context: request(50).context });
    release();
    mock.timers.tick(51);
    ask(quota, 'e', log);
    release();
    release();
    await settled();
    assert.deepEqual(log, ['b: CANCELLED', 'c', 'd: DEADLINE_EXCEEDED', 'e']);
    assert.throws(() => quota.acquire('b', context), { reason: 'CANCELLED' });
    assert.throws(() => quota.acquire('b', { ...never, deadline: Date.now() }), { reason: 'DEADLINE_EXCEEDED' });
  }),
);

test(
  'several that wait on one signal end with it together, and nothing listens to a signal after its wait',
  onMockClock(async () => {
    const quota = open({ perSecond: 10, burst: 10 });
    const log: string[] = [];
    const batch = request();
    const other = request();
    ask(quota, 'x', log, { weight: 10 });
    for (const weight of [10, 1]) ask(quota, 'a', log, { context: batch.context, weight });
    ask(quota, 'b', log, { context: other.context });
    mock.timers.tick(500);
    assert.equal(getEventListeners(other.context.signal, 'abort').length, 1);
    batch.abort();
    mock.timers.tick(1_000);
    await settled();
    assert.deepEqual(log.toSorted(), ['a: CANCELLED', 'a: CANCELLED', 'b', 'x']);
    for (const { context } of [batch, other]) assert.deepEqual(getEventListeners(context.signal, 'abort'), []);
  }),
);

test(
  'when the heavy one that is next leaves, the light one behind it does not wait for its sake',
  onMockClock(async () => {
    const quota = open({ perSecond: 1, burst: 10 });
    const log: string[] = [];
    ask(quota, 'a', log, { weight: 10, label: 'all' });
    const { context, abort } = request();
    ask(quota, 'a', log, { weight: 10, label: 'heavy', context });
    ask(quota, 'b', log, { label: 'light' });
    mock.timers.tick(500);
    abort();
    mock.timers.tick(500);
    await settled();
    assert.deepEqual(log.toSorted(), ['all', 'heavy: CANCELLED', 'light']);
  }),
);

test(
  'after close nobody waits and nobody comes',
  onMockClock(async () => {
    const quota = open({ perSecond: 1 });
    const log: string[] = [];
    for (const label of ['1', '2', '3']) ask(quota, 'a', log, { label });
    quota.close();
    mock.timers.tick(10_000);
    await settled();
    assert.deepEqual(log, ['1', '2: SHUTTING_DOWN', '3: SHUTTING_DOWN']);
    assert.throws(() => quota.acquire('a', never), { code: 'unavailable', reason: 'SHUTTING_DOWN' });
  }),
);

test('a request that waits does not keep the process alive', () => {
  const script = `
    import { createQuota } from './src/keys/quota.ts';
    const quota = createQuota({ perSecond: 0.01 }, { key: 'release' });
    const context = { requestId: 'test', signal: new AbortController().signal, deadline: Infinity };
    for (let count = 0; count < 3; count++) void quota.acquire('a', context);
    console.log(quota.depth());`;
  const child = spawnSync(process.execPath, ['--input-type=module-typescript', '--eval', script], { timeout: 60_000 });
  assert.equal(String(child.stdout), '2\n', String(child.stderr));
  assert.equal(child.status, 0);
});

test('nothing is kept of callers who have gone', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const quota = open({ maxConcurrent: 1 });
  const release = await quota.acquire('first', never);
  const heap = (): number => {
    gc();
    return process.memoryUsage().heapUsed;
  };
  const come = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index++) {
      const { context, abort } = request();
      const waiting = quota.acquire(`${'x'.repeat(100)}${index}`, context);
      if (index % 2 === 0) abort();
      else release();
      await Promise.resolve(waiting).catch(() => undefined);
    }
  };
  await come(2_000);
  const before = heap();
  await come(50_000);
  assert.ok(heap() - before < 4_000_000, `${heap() - before} bytes are kept`);
});

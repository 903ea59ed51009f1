import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLimiter } from '../../src/api/limiter.ts';
import { type OwnedContext, openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';

const open = (t: { after(fn: () => void): void }, ms = 10_000): OwnedContext => {
  const owned = openContext('id', ms);
  t.after(owned.dispose);
  return owned;
};

test('places are free until the bound, then requests wait in order', async (t) => {
  const limiter = createLimiter(2, 10);
  assert.equal(limiter.acquire(open(t).context), undefined);
  assert.equal(limiter.acquire(open(t).context), undefined);
  const order: number[] = [];
  const waits = [1, 2, 3].map((n) => limiter.acquire(open(t).context)?.then(() => order.push(n)));
  assert.equal(limiter.queued, 3);
  for (let n = 0; n < 3; n++) limiter.release();
  await Promise.all(waits);
  assert.deepEqual(order, [1, 2, 3]);
  assert.equal(limiter.inFlight, 2);
  limiter.release();
  limiter.release();
  assert.equal(limiter.inFlight, 0);
});

test('a full queue refuses at once, with a delay', (t) => {
  const limiter = createLimiter(1, 1);
  limiter.acquire(open(t).context);
  void limiter.acquire(open(t).context);
  assert.throws(
    () => limiter.acquire(open(t).context),
    (error) =>
      error instanceof CountersignError &&
      error.code === 'resource_exhausted' &&
      error.reason === 'OVERLOADED' &&
      error.retryAfterMs !== undefined,
  );
});

test('one who gives up frees its place in the queue and is skipped', async (t) => {
  const limiter = createLimiter(1, 1);
  limiter.acquire(open(t).context);
  const impatient = open(t);
  const wait = limiter.acquire(impatient.context);
  impatient.cancel();
  await assert.rejects(async () => wait, { code: 'cancelled' });
  assert.equal(limiter.queued, 0);
  const next = limiter.acquire(open(t).context);
  limiter.release();
  await next;
  assert.equal(limiter.inFlight, 1);
});

test('a deadline that passes in the queue is deadline_exceeded', async (t) => {
  const limiter = createLimiter(1, 1);
  limiter.acquire(open(t).context);
  // The context's timer does not keep the process alive; this one does.
  const alive = setTimeout(() => undefined, 5_000);
  await assert.rejects(async () => limiter.acquire(open(t, 5).context), { code: 'deadline_exceeded' });
  clearTimeout(alive);
});

test('a context that has ended does not enter the queue', async (t) => {
  const limiter = createLimiter(1, 1);
  limiter.acquire(open(t).context);
  const ended = open(t);
  ended.cancel();
  await assert.rejects(async () => limiter.acquire(ended.context), { code: 'cancelled' });
  assert.equal(limiter.queued, 0);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { parseRetryAfter, withRetry } from '../../src/net/retry.ts';

const now = new Date('2026-11-27T00:00:00Z');
const busy = (retryAfterMs?: number) =>
  new CountersignError('unavailable', 'BUSY', 'busy', retryAfterMs === undefined ? {} : { retryAfterMs });

test('Retry-After: seconds and HTTP-dates, everything else is nothing', () => {
  const cases: [string | undefined, number | undefined][] = [
    ['0', 0],
    ['5', 5_000],
    [' 5 ', 5_000],
    ['86400', 86_400_000],
    ['999999999', 86_400_000],
    ['Fri, 27 Nov 2026 00:00:10 GMT', 10_000],
    ['Thu, 26 Nov 2026 23:00:00 GMT', 0],
    ['Fri, 27 Nov 2099 00:00:10 GMT', 86_400_000],
    [undefined, undefined],
    ['', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['1e3', undefined],
    ['soon', undefined],
    ['2026-11-27', undefined],
    ['Fri, 99 Foo 2026 00:00:10 GMT', undefined],
  ];
  for (const [text, wanted] of cases) assert.equal(parseRetryAfter(text, now), wanted, String(text));
});

test('tries again until it succeeds, at most so many times', async () => {
  const { context, dispose } = openContext('test', 5_000);
  const attempts: number[] = [];
  const answer = await withRetry(
    async (attempt) => {
      attempts.push(attempt);
      if (attempt < 3) throw busy(1);
      return 'done';
    },
    { tries: 3, context, baseMs: 1 },
  );
  assert.equal(answer, 'done');
  assert.deepEqual(attempts, [1, 2, 3]);
  let count = 0;
  const failing = withRetry(
    async () => {
      count++;
      throw busy(1);
    },
    { tries: 4, context, baseMs: 1 },
  );
  await assert.rejects(failing, { reason: 'BUSY' });
  assert.equal(count, 4);
  dispose();
});

test('what does not say that it may pass is thrown at once', async () => {
  const { context, dispose } = openContext('test', 5_000);
  for (const error of [busy(), new TypeError('a bug')]) {
    let count = 0;
    const operation = withRetry(
      async () => {
        count++;
        throw error;
      },
      { tries: 4, context },
    );
    await assert.rejects(operation, error);
    assert.equal(count, 1);
  }
  dispose();
});

test('a budget that is spent ends it with the error at once; it is asked for each further attempt alone', async () => {
  const { context, dispose } = openContext('test', 5_000);
  const run = async (allowed: number, tries: number, error = busy(1)) => {
    let asked = 0;
    let attempts = 0;
    const budget = { withdraw: () => ++asked <= allowed };
    const operation = async () => {
      attempts++;
      throw error;
    };
    await assert.rejects(withRetry(operation, { tries, context, baseMs: 1, budget }), error);
    return { asked, attempts };
  };
  assert.deepEqual(await run(0, 5), { asked: 1, attempts: 1 });
  assert.deepEqual(await run(2, 5), { asked: 3, attempts: 3 });
  assert.deepEqual(await run(9, 3), { asked: 2, attempts: 3 });
  assert.deepEqual(await run(9, 3, busy()), { asked: 0, attempts: 1 }, 'not worth a retry');
  assert.deepEqual(await run(9, 3, busy(86_400_000)), { asked: 0, attempts: 1 }, 'no time for a retry');
  dispose();
});

test('never waits past the deadline: the error comes at once', async () => {
  const { context, dispose } = openContext('test', 1_000);
  const started = performance.now();
  const operation = withRetry(() => Promise.reject(busy(86_400_000)), { tries: 3, context });
  await assert.rejects(operation, { reason: 'BUSY' });
  assert(performance.now() - started < 500);
  dispose();
});

test('waits at least as long as it was told', async () => {
  const { context, dispose } = openContext('test', 5_000);
  const started = performance.now();
  await withRetry((attempt) => (attempt === 1 ? Promise.reject(busy(200)) : Promise.resolve()), {
    tries: 2,
    context,
    baseMs: 1,
  });
  assert(performance.now() - started >= 195);
  dispose();
});

test('a cancelled wait ends with the reason', async () => {
  const owned = openContext('test', 60_000);
  setTimeout(() => owned.cancel(), 20);
  const operation = withRetry(() => Promise.reject(busy(30_000)), { tries: 2, context: owned.context });
  await assert.rejects(operation, { code: 'cancelled' });
  owned.dispose();
});

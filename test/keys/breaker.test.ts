import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Breaker, createBreaker, type Pass } from '../../src/keys/breaker.ts';
import { CountersignError, type ErrorCode } from '../../src/model/error.ts';

const error = (code: ErrorCode): CountersignError => new CountersignError(code, 'TEST', 'test', { retryAfterMs: 1 });
const down = error('unavailable');

/** A breaker on a clock that the test moves; `random` at 1 leaves out the jitter. */
const world = (random = 1) => {
  const clock = { now: 0 };
  const breaker = createBreaker({ key: 'release', now: () => clock.now, random: () => random });
  return { clock, breaker };
};

const fail = (breaker: Breaker, times: number, how: unknown = down): void => {
  for (let count = 0; count < times; count++) breaker.failed(how, breaker.assertClosed());
};

const refusal = (breaker: Breaker): CountersignError => {
  try {
    breaker.assertClosed();
  } catch (caught) {
    if (caught instanceof CountersignError) return caught;
  }
  return assert.fail('was not refused');
};

test('five failures in a row open it; an answer between them starts the count anew', () => {
  const { breaker } = world();
  fail(breaker, 4);
  breaker.succeeded(breaker.assertClosed());
  fail(breaker, 4);
  assert.equal(breaker.state(), 'closed');
  fail(breaker, 1);
  assert.equal(breaker.state(), 'open');
  const refused = refusal(breaker);
  assert.equal(refused.code, 'unavailable');
  assert.equal(refused.reason, 'KEY_BREAKER_OPEN');
  assert.equal(refused.retryAfterMs, 5_000);
  assert.deepEqual(refused.metadata, { key: 'release' });
});

test('the delay it tells is what is left of it', () => {
  const { breaker, clock } = world();
  fail(breaker, 5);
  clock.now = 4_999.5;
  assert.equal(refusal(breaker).retryAfterMs, 1);
  clock.now = 5_000;
  assert.equal(breaker.state(), 'half-open');
  breaker.assertClosed();
});

test('answers of the backend that refuse are no failures, and end a row of them', () => {
  for (const code of ['resource_exhausted', 'failed_precondition', 'data_loss', 'not_found'] as const) {
    const { breaker } = world();
    fail(breaker, 20, error(code));
    fail(breaker, 4);
    fail(breaker, 1, error(code));
    fail(breaker, 4);
    assert.equal(breaker.state(), 'closed', code);
  }
});

test('what says nothing of the backend neither counts nor ends a row', () => {
  for (const silent of [error('cancelled'), error('internal'), new TypeError('a bug'), error('deadline_exceeded')]) {
    const { breaker } = world();
    fail(breaker, 20, silent);
    fail(breaker, 4);
    breaker.abandoned(breaker.assertClosed());
    fail(breaker, 1, silent);
    assert.equal(breaker.state(), 'closed', silent.message);
    fail(breaker, 1);
    assert.equal(breaker.state(), 'open', silent.message);
  }
});

test('a deadline counts when the backend had a second to answer: short ones close the key to nobody', () => {
  const { breaker, clock } = world();
  const late = (afterMs: number): void => {
    const pass = breaker.assertClosed();
    clock.now += afterMs;
    breaker.failed(error('deadline_exceeded'), pass);
  };
  for (let count = 0; count < 20; count++) late(999);
  assert.equal(breaker.state(), 'closed');
  for (let count = 0; count < 5; count++) late(1_000);
  assert.equal(breaker.state(), 'open');
});

test('one trial after the time; whoever comes meanwhile is refused; its success closes', () => {
  const { breaker, clock } = world();
  fail(breaker, 5);
  clock.now = 5_000;
  const trial = breaker.assertClosed();
  assert.equal(refusal(breaker).retryAfterMs, 1_000);
  breaker.succeeded(trial);
  assert.equal(breaker.state(), 'closed');
  fail(breaker, 4);
  assert.equal(breaker.state(), 'closed');
});

test('the time doubles with each trial that fails, to a minute, and is short again after a success', () => {
  const { breaker, clock } = world();
  const times: number[] = [];
  fail(breaker, 5);
  for (let count = 0; count < 6; count++) {
    const { retryAfterMs = 0 } = refusal(breaker);
    times.push(retryAfterMs);
    clock.now += retryAfterMs;
    fail(breaker, 1);
  }
  assert.deepEqual(times, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  clock.now += 60_000;
  breaker.succeeded(breaker.assertClosed());
  fail(breaker, 5);
  assert.equal(refusal(breaker).retryAfterMs, 5_000);
});

test('jitter takes up to half of it', () => {
  const { breaker } = world(0);
  fail(breaker, 5);
  assert.equal(refusal(breaker).retryAfterMs, 2_500);
});

test('a throttled trial closes: the backend is there', () => {
  const { breaker, clock } = world();
  fail(breaker, 5);
  clock.now = 5_000;
  breaker.failed(error('resource_exhausted'), breaker.assertClosed());
  assert.equal(breaker.state(), 'closed');
});

test('a trial without an outcome is made by the next caller, at once, and the time does not double', () => {
  const { breaker, clock } = world();
  fail(breaker, 5);
  clock.now = 5_000;
  breaker.abandoned(breaker.assertClosed());
  breaker.failed(error('cancelled'), breaker.assertClosed());
  breaker.failed(error('deadline_exceeded'), breaker.assertClosed());
  breaker.failed(down, breaker.assertClosed());
  assert.equal(refusal(breaker).retryAfterMs, 10_000);
});

test('a trial that is never heard of is given up after a minute, and does not count later', () => {
  const { breaker, clock } = world();
  fail(breaker, 5);
  clock.now = 5_000;
  const lost = breaker.assertClosed();
  clock.now += 59_999;
  assert.equal(refusal(breaker).retryAfterMs, 1);
  clock.now += 1;
  const trial = breaker.assertClosed();
  breaker.succeeded(lost);
  assert.equal(breaker.state(), 'half-open');
  breaker.succeeded(trial);
  assert.equal(breaker.state(), 'closed');
});

test('attempts from before it opened change nothing', () => {
  const { breaker, clock } = world();
  const old = Array.from({ length: 4 }, () => breaker.assertClosed());
  fail(breaker, 5);
  const [first, second, third, fourth] = old as [Pass, Pass, Pass, Pass];
  breaker.succeeded(first);
  assert.equal(breaker.state(), 'open');
  clock.now = 5_000;
  const trial = breaker.assertClosed();
  breaker.failed(down, second);
  breaker.abandoned(third);
  assert.equal(refusal(breaker).reason, 'KEY_BREAKER_OPEN');
  breaker.succeeded(trial);
  breaker.failed(down, fourth);
  fail(breaker, 4);
  assert.equal(breaker.state(), 'closed');
});

test('whatever comes: never two trials at once, never open for longer than a minute', () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant({ do: 'ask' as const }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constantFrom('succeeded' as const, 'failed' as const, 'failed' as const, 'abandoned' as const),
        which: fc.nat(20),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 15_000 }) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), fc.double({ min: 0, max: 1, noNaN: true }), (steps, random) => {
      const { breaker, clock } = world(random);
      const passes: Pass[] = [];
      let trial: Pass | undefined;
      for (const each of steps) {
        if (each.do === 'tick') clock.now += each.ms;
        else if (each.do === 'ask') {
          const wasClosed = breaker.state() === 'closed';
          try {
            const pass = breaker.assertClosed();
            passes.push(pass);
            if (wasClosed) continue;
            assert.ok(trial === undefined || clock.now - trial.at >= 60_000, 'two trials');
            trial = pass;
          } catch (caught) {
            assert.ok(caught instanceof CountersignError);
            assert.ok((caught.retryAfterMs ?? 0) >= 1 && (caught.retryAfterMs ?? 0) <= 60_000);
          }
        } else {
          const [pass] = passes.splice(each.which, 1);
          if (pass === undefined) continue;
          if (each.do === 'failed') breaker.failed(down, pass);
          else breaker[each.do](pass);
          if (pass === trial) trial = undefined;
        }
      }
      clock.now += 60_000;
      breaker.succeeded(breaker.assertClosed());
      assert.equal(breaker.state(), 'closed');
    }),
  );
});

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setImmediate as settled } from 'node:timers/promises';
import fc from 'fast-check';
import { z } from 'zod';
import { commonSettings } from '../../src/keys/common-settings.ts';
import type { Release } from '../../src/keys/quota.ts';
import { CountersignError } from '../../src/model/error.ts';
import { ask, never, onMockClock, open, request } from './quota-world.ts';

const settingsThere = fc.record({
  perSecond: fc.option(fc.integer({ min: 1, max: 200 }), { nil: undefined }),
  burst: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  maxConcurrent: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
  maxQueued: fc.integer({ min: 0, max: 12 }),
});

const event = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('ask' as const),
      caller: fc.constantFrom('a', 'b', 'c'),
      weight: fc.constantFrom(1, 1, 1, 3, 30),
      withinMs: fc.constantFrom(20, 500, 1e9),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('release' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat(50) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('tick' as const), ms: fc.integer({ min: 1, max: 400 }) }) },
);

test('whatever comes: the bounds hold, and everyone gets a place or an answer', { timeout: 120_000 }, async () => {
  const property = fc.asyncProperty(settingsThere, fc.array(event, { maxLength: 80 }), (settings, events) =>
    onMockClock(async () => {
      const quota = open(settings);
      const { perSecond, maxConcurrent = Number.POSITIVE_INFINITY, maxQueued } = settings;
      const burst = settings.burst ?? Math.max(1, perSecond ?? 1);
      const releases: Release[] = [];
      const grants: { at: number; weight: number }[] = [];
      const asked: { abort(): void }[] = [];
      let answers = 0;

      const come = async (caller: string, weight: number, withinMs: number): Promise<void> => {
        const { context, abort } = request(withinMs);
        const expiry = setTimeout(abort, Math.min(withinMs, 2 ** 31 - 1));
        asked.push({ abort });
        try {
          releases.push(await quota.acquire(caller, context, weight));
          grants.push({ at: Date.now(), weight });
        } catch (caught) {
          assert.ok(caught instanceof CountersignError);
          assert.ok(['KEY_QUOTA', 'CANCELLED', 'DEADLINE_EXCEEDED'].includes(caught.reason), caught.reason);
          assert.equal(caught.reason === 'KEY_QUOTA', (caught.retryAfterMs ?? 0) >= 1);
        }
        clearTimeout(expiry);
        answers += 1;
      };
      const check = async (): Promise<void> => {
        await settled();
        assert.ok(releases.length <= maxConcurrent);
        assert.ok(quota.depth() <= maxQueued);
        assert.equal(quota.depth(), asked.length - answers);
      };
      /** In steps, so that what is granted is written down when it is. */
      const tick = async (ms: number): Promise<void> => {
        for (let left = ms; left > 0; left -= 20) {
          mock.timers.tick(Math.min(left, 20));
          await check();
        }
      };

      const outcomes: Promise<void>[] = [];
      for (const each of events) {
        if (each.do === 'ask') outcomes.push(come(each.caller, each.weight, each.withinMs));
        if (each.do === 'release') releases.pop()?.();
        if (each.do === 'abort') asked[each.which]?.abort();
        if (each.do === 'tick') await tick(each.ms);
        await check();
      }
      for (let rounds = 0; quota.depth() > 0 && rounds < 10_000; rounds++) {
        releases.pop()?.();
        await tick(maxConcurrent === Number.POSITIVE_INFINITY || releases.length === 0 ? 1_000 : 1);
      }
      assert.equal(quota.depth(), 0, 'someone waits for ever');
      await Promise.all(outcomes);

      if (perSecond === undefined) return;
      for (let from = 0; from < grants.length; from++) {
        let taken = 0;
        for (const { at, weight } of grants.slice(from)) {
          taken += weight;
          const most = burst + Math.max(0, weight - burst) + (perSecond * (at - (grants[from]?.at ?? 0))) / 1_000;
          // A millisecond in doubt for each end of the window.
          assert.ok(taken <= most + perSecond / 50, `${taken} taken where ${most} may be`);
        }
      }
    })(),
  );
  await fc.assert(property, { numRuns: 150 });
});

test('two callers with unequal load get equal shares while both wait', async () => {
  const load = fc.record({
    many: fc.integer({ min: 30, max: 200 }),
    few: fc.integer({ min: 1, max: 30 }),
    heavy: fc.integer({ min: 1, max: 10 }),
    light: fc.integer({ min: 1, max: 10 }),
  });
  await fc.assert(
    fc.asyncProperty(load, ({ many, few, heavy, light }) =>
      onMockClock(async () => {
        const quota = open({ perSecond: 100, burst: 1, maxQueued: 1_000 });
        void quota.acquire('first', never, 100);
        const log: string[] = [];
        for (let count = 0; count < many; count++) ask(quota, 'greedy', log, { weight: heavy });
        for (let count = 0; count < few; count++) ask(quota, 'modest', log, { weight: light });
        while (quota.depth() > 0) {
          mock.timers.tick(10);
          await settled();
        }
        const shares = { greedy: 0, modest: 0 };
        const left = { greedy: many, modest: few };
        for (const caller of log as ('greedy' | 'modest')[]) {
          if (left.greedy === 0 || left.modest === 0) break;
          left[caller] -= 1;
          shares[caller] += caller === 'greedy' ? heavy : light;
          assert.ok(Math.abs(shares.greedy - shares.modest) <= Math.max(heavy, light), JSON.stringify(shares));
        }
      })(),
    ),
    { numRuns: 30 },
  );
});

test('the limits of a key in the configuration: what is taken, and each mistake with its fix', () => {
  const settings = z.strictObject(commonSettings);
  const mistakes = (limits: object): string[] =>
    settings
      .safeParse({ name: 'release', limits })
      .error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
  const full = { perSecond: 0.5, burst: 10, maxConcurrent: 4, maxQueued: 0 };
  for (const good of [{}, full, { maxConcurrent: 1, maxQueued: 10 }, { perSecond: 300 }]) {
    assert.deepEqual(mistakes(good), [], JSON.stringify(good));
  }
  const cases: [object, string][] = [
    [{ perSecond: 0 }, 'limits.perSecond: must be at least 0.01'],
    [{ perSecond: 1, burst: 0 }, 'limits.burst: must be at least 1'],
    [{ burst: 5 }, 'limits.burst: has no meaning without perSecond'],
    [{ maxConcurrent: 10_001 }, 'limits.maxConcurrent: must be at most 10000'],
    [{ maxQueued: 5 }, 'limits.maxQueued: has no meaning without perSecond or maxConcurrent'],
    [{ perSecond: 1, maxQueued: 10_001 }, 'limits.maxQueued: must be at most 10000'],
  ];
  for (const [limits, mistake] of cases) assert.deepEqual(mistakes(limits), [mistake]);
  assert.match(mistakes({ perSecond: 1, brust: 3 }).join(), /brust/);
});

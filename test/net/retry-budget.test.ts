import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createRetryBudget } from '../../src/net/retry-budget.ts';

/** How many retries are allowed now. */
const spend = (budget: { withdraw(): boolean }): number => {
  let count = 0;
  while (count < 1_000_000 && budget.withdraw()) count += 1;
  return count;
};

test('a reserve before any request, then one retry for five requests', () => {
  const budget = createRetryBudget();
  assert.equal(spend(budget), 10);
  for (let count = 0; count < 4; count++) budget.deposited();
  assert.equal(spend(budget), 0);
  budget.deposited();
  assert.equal(spend(budget), 1);
  for (let count = 0; count < 50; count++) budget.deposited();
  assert.equal(spend(budget), 10);
});

test('quiet times save up no more than the cap', () => {
  const budget = createRetryBudget({ ratio: 0.5, reserve: 2, cap: 30 });
  for (let count = 0; count < 100_000; count++) budget.deposited();
  assert.equal(spend(budget), 30);
});

test('no ratio and no reserve: no retries', () => {
  const budget = createRetryBudget({ ratio: 0, reserve: 0 });
  budget.deposited();
  assert.equal(budget.withdraw(), false);
});

test('an outage: a thousand requests that each want two retries get a fifth of them, and the reserve', () => {
  const budget = createRetryBudget();
  let retries = 0;
  for (let count = 0; count < 1_000; count++) {
    budget.deposited();
    if (budget.withdraw()) retries += 1;
    if (budget.withdraw()) retries += 1;
  }
  assert.equal(retries, 210);
});

test('whatever comes: never more than the reserve and the share', () => {
  const options = fc.record({
    ratio: fc.double({ min: 0, max: 1, noNaN: true }),
    reserve: fc.nat(20),
    cap: fc.integer({ min: 20, max: 100 }),
  });
  fc.assert(
    fc.property(options, fc.array(fc.boolean(), { maxLength: 500 }), (settings, firstAttempts) => {
      const budget = createRetryBudget(settings);
      let requests = 0;
      let retries = 0;
      for (const isFirst of firstAttempts) {
        if (isFirst) {
          budget.deposited();
          requests += 1;
        } else if (budget.withdraw()) retries += 1;
        assert.ok(retries <= settings.reserve + settings.ratio * requests + 1e-6);
      }
    }),
  );
});

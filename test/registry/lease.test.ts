// What a holder of a lease can rely on, with a store in memory; test/peers/lease.test.ts has a real one.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { createLease } from '../../src/registry/leases/hold.ts';
import { createFakeLeaseStore } from './fake-lease-store.ts';
import { isError, within } from './world.ts';

/** Where the case is about how long a lease lasts. */
const shortMs = 1_500;
const nothing = async () => ({});

const open = (waitMs = 10_000, durationMs = 10_000) => {
  const store = createFakeLeaseStore();
  const create = () => createLease(store, { durationMs, waitMs });
  return { store, lease: create(), other: create() };
};

/** A lease that is held until `end` is called. */
const holding = async (lease: ReturnType<typeof open>['lease'], name = 'tag') => {
  const begun = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const outcome = lease.hold(name, within(60_000), async () => {
    begun.resolve();
    await gate.promise;
    return {};
  });
  outcome.catch(begun.reject);
  await begun.promise;
  return { outcome, end: () => gate.resolve() };
};

describe('exclusion', () => {
  test('one at a time, in two processes; those of one process in the order in which they came', async () => {
    const { lease, other } = open(60_000);
    let inside = 0;
    const order: number[] = [];
    const one = (index: number) =>
      (index % 2 === 0 ? lease : other).hold('tag', within(60_000), async () => {
        assert.equal(++inside, 1);
        order.push(index);
        await new Promise((done) => setTimeout(done, 2));
        inside--;
        return {};
      });
    const outcomes = await Promise.all(Array.from({ length: 30 }, (_, index) => one(index)));
    assert.deepEqual(new Set(outcomes), new Set(['certain']));
    for (const rest of [0, 1]) {
      const theirs = order.filter((index) => index % 2 === rest);
      assert.deepEqual(
        theirs,
        theirs.toSorted((a, b) => a - b),
      );
    }
    // Neither process kept the other waiting until it had no more work.
    assert.ok(new Set(order.slice(0, 20).map((index) => index % 2)).size === 2, order.join(' '));
  });

  test('other names do not wait', async () => {
    const { lease } = open();
    const held = await holding(lease, 'a');
    assert.equal(await lease.hold('b', within(5_000), nothing), 'certain');
    held.end();
    assert.equal(await held.outcome, 'certain');
  });

  test('it is prolonged for as long as the work takes', async () => {
    const { lease, other, store } = open(200, shortMs);
    const held = await holding(lease);
    await new Promise((done) => setTimeout(done, 1.5 * shortMs));
    await assert.rejects(other.hold('tag', within(5_000), nothing), isError('unavailable', 'LEASE_UNAVAILABLE'));
    held.end();
    assert.equal(await held.outcome, 'certain');
    assert.ok(store.done.filter(({ operation }) => operation === 'keep').length >= 5);
  });

  test('work that fails gives it back, and the failure is what is heard', async () => {
    const { lease, store } = open();
    const failing = lease.hold('tag', within(5_000), async () => {
      throw new Error('of the work');
    });
    await assert.rejects(failing, /of the work/);
    assert.equal(store.holders.size, 0);
  });

  test('a request that may be under way keeps it for a while', async () => {
    const { lease, other, store } = open();
    assert.equal(await lease.hold('tag', within(5_000), async () => ({ lingerMs: 400 })), 'certain');
    assert.equal(store.done.at(-1)?.lingerMs, 400);
    const started = performance.now();
    await other.hold('tag', within(5_000), nothing);
    assert.ok(performance.now() - started >= 350);
  });
});

describe('a lease that cannot be had', () => {
  test('others have it for longer than is waited: no work is begun', async () => {
    const { lease, other } = open(300);
    const held = await holding(lease);
    for (const waiter of [lease, other]) {
      await assert.rejects(
        waiter.hold('tag', within(5_000), () => assert.fail('begun')),
        (error: { retryAfterMs?: number }) => {
          assert.equal(error.retryAfterMs, 1_000);
          return isError('unavailable', 'LEASE_UNAVAILABLE')(error);
        },
      );
    }
    held.end();
    assert.equal(await held.outcome, 'certain');
    assert.equal(await other.hold('tag', within(5_000), nothing), 'certain');
  });

  test('the request ends first: its own reason', async () => {
    const { lease, other } = open();
    const held = await holding(lease);
    for (const waiter of [lease, other]) {
      const { context, cancel } = openContext('test', 5_000);
      const waiting = waiter.hold('tag', context, nothing);
      setTimeout(cancel, 50);
      await assert.rejects(waiting, isError('cancelled'));
    }
    held.end();
    await held.outcome;
  });

  test('the store is away', async () => {
    const { lease, store } = open();
    store.fail(['take']);
    await assert.rejects(lease.hold('tag', within(5_000), nothing), isError('unavailable', 'LEASE_UNAVAILABLE'));
    store.fail([]);
    assert.equal(await lease.hold('tag', within(5_000), nothing), 'certain');
  });

  test('the store gave it, and the answer was lost: it is given back', async () => {
    const { lease, other, store } = open();
    store.fail(['take'], 'after');
    await assert.rejects(lease.hold('tag', within(5_000), nothing), isError('unavailable', 'LEASE_UNAVAILABLE'));
    store.fail([]);
    const started = performance.now();
    assert.equal(await other.hold('tag', within(5_000), nothing), 'certain');
    assert.ok(performance.now() - started < 5_000);
  });
});

describe('a lease that is not certain', () => {
  test('the store may have been started anew: doubtful for one length of a lease', async () => {
    const { lease, store } = open(10_000, shortMs);
    store.forget('seen');
    const seen: string[] = [];
    const asking = async (): Promise<string> =>
      lease.hold('tag', within(5_000), async ({ confirm }) => {
        seen.push(await confirm());
        return {};
      });
    assert.equal(await asking(), 'doubtful');
    await new Promise((done) => setTimeout(done, shortMs + 50));
    assert.equal(await asking(), 'certain');
    assert.deepEqual(seen, ['doubtful', 'certain']);
  });

  test('lost in the middle of the work: a write is stopped before it is made, the context ends, the outcome says so', async () => {
    const { lease, store, other } = open();
    const outcome = await lease.hold('tag', within(5_000), async ({ confirm, context }) => {
      assert.equal(await confirm(), 'certain');
      store.forget('unseen');
      assert.equal(await other.hold('tag', within(5_000), async () => ({ note: 'theirs' })), 'certain');
      await assert.rejects(confirm(), isError('unavailable', 'LEASE_LOST'));
      assert.ok(context.signal.aborted);
      return { note: 'ours' };
    });
    assert.equal(outcome, 'lost');
    await lease.hold('tag', within(5_000), async ({ noted }) => {
      assert.deepEqual(await noted(), ['theirs']);
      return {};
    });
  });

  test('found out by prolonging it alone: the context ends', async () => {
    const { lease, store } = open(10_000, shortMs);
    const outcome = await lease.hold('tag', within(10_000), async ({ context }) => {
      store.forget('unseen');
      await new Promise((done) => context.signal.addEventListener('abort', done, { once: true }));
      assert.ok(isError('unavailable', 'LEASE_LOST')(context.signal.reason));
      return {};
    });
    assert.equal(outcome, 'lost');
  });

  test('the store goes away: the context ends before the lease does', async () => {
    const { lease, store } = open(10_000, shortMs);
    const started = performance.now();
    const outcome = await lease.hold('tag', within(10_000), async ({ context }) => {
      store.fail(['keep', 'give']);
      await new Promise((done) => context.signal.addEventListener('abort', done, { once: true }));
      assert.equal(store.holders.size, 1);
      return {};
    });
    assert.equal(outcome, 'lost');
    assert.ok(performance.now() - started >= shortMs / 2);
  });

  test('the store does not say whether it was still ours', async () => {
    const { lease, store } = open();
    const outcome = await lease.hold('tag', within(5_000), async () => {
      store.fail(['give']);
      return {};
    });
    assert.equal(outcome, 'lost');
  });
});

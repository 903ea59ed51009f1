import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { type Context, openContext } from '../../src/model/context.ts';
import { createSingleFlight, type SingleFlight } from '../../src/registry/single-flight.ts';
import { isError, within } from './world.ts';

type Work = PromiseWithResolvers<string> & { readonly context: Context };

/** Work that ends when the test says so, or with its context. */
const started = (flight: SingleFlight<string>) => {
  const works: Work[] = [];
  const ask = (context: Context): Promise<string> =>
    flight('key', context, (shared) => {
      const work = Promise.withResolvers<string>();
      works.push({ ...work, context: shared });
      shared.signal.addEventListener('abort', () => work.reject(shared.signal.reason));
      return work.promise;
    });
  return { works, ask };
};

test('one work for all who ask; whoever leaves does not take it from the others', async () => {
  const { works, ask } = started(createSingleFlight<string>(60_000));
  const hasty = openContext('hasty', 60_000);
  const asked = [ask(hasty.context), ask(within(60_000)), ask(within(60_000))];
  hasty.cancel();
  await assert.rejects(asked[0] ?? Promise.resolve(), isError('cancelled'));
  assert.equal(works[0]?.context.signal.aborted, false);
  works[0]?.resolve('one');
  assert.deepEqual(await Promise.all(asked.slice(1)), ['one', 'one']);
  assert.equal(works.length, 1);
});

test('the last one who leaves ends the work, and who comes then begins anew', async () => {
  const { works, ask } = started(createSingleFlight<string>(60_000));
  const callers = [openContext('a', 60_000), openContext('b', 60_000)];
  const left = callers.map(({ context }) => assert.rejects(ask(context), isError('cancelled')));
  for (const { cancel } of callers) cancel();
  await Promise.all(left);
  assert.equal(works[0]?.context.signal.aborted, true);
  const next = ask(within(60_000));
  assert.equal(works.length, 2);
  works[1]?.resolve('two');
  assert.equal(await next, 'two');
  assert.equal(works[1]?.context.signal.aborted, false, 'what is done is not cancelled');
});

test('who is gone already begins nothing', async () => {
  const { works, ask } = started(createSingleFlight<string>(60_000));
  const gone = openContext('gone', 60_000);
  gone.cancel();
  await assert.rejects(ask(gone.context), isError('cancelled'));
  assert.equal(works.length, 0);
});

test('work that may hang is joined by nobody, and what is begun instead answers all', async () => {
  const { works, ask } = started(createSingleFlight<string>(60_000, 0));
  const first = ask(within(60_000));
  const second = ask(within(60_000));
  const third = ask(within(60_000));
  assert.equal(works.length, 3);
  works[1]?.resolve('two');
  assert.deepEqual(await Promise.all([first, second, third]), ['two', 'two', 'two']);
  assert.deepEqual(
    works.map(({ context }) => context.signal.aborted),
    [true, false, true],
  );
});

test('a failure is told to those who wait for that work alone', async () => {
  const { works, ask } = started(createSingleFlight<string>(60_000, 0));
  const [first, second] = [ask(within(60_000)), ask(within(60_000))];
  works[0]?.reject(new Error('down'));
  await assert.rejects(first, /down/);
  works[1]?.resolve('two');
  assert.equal(await second, 'two');
});

test('work that does not heed its deadline is waited for no longer than that', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const flight = createSingleFlight<string>(15_000);
    const { promise } = Promise.withResolvers<never>();
    const asked = flight('key', within(60_000), () => promise);
    mock.timers.tick(15_000);
    await assert.rejects(asked, isError('deadline_exceeded'));
    assert.equal(await flight('key', within(60_000), async () => 'anew'), 'anew');
  } finally {
    mock.timers.reset();
  }
});

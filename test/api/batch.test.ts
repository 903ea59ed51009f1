// SignBatch on both edges over a fake service: how the stream behaves.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type SignBatchResponse, SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { CountersignError } from '../../src/model/error.ts';
import { all, edges, errorOf, idle, many, signItem, startGated } from './batches.ts';
import { hanging, start } from './calls.ts';
import { callRest, openStream } from './clients.ts';
import { signResult } from './world.ts';

for (const { name, open } of edges) {
  describe(`over ${name}`, () => {
    test('each item is answered once, as it gets done and not in order', async (t) => {
      const { gate, setup } = await startGated(t);
      const messages = open(setup, 3).messages[Symbol.asyncIterator]();
      await gate.reached(3);
      const seen: [string, number, string | undefined][] = [];
      for (const reference of ['app2', 'app0', 'app1']) {
        gate.end(reference, reference === 'app0' ? new CountersignError('not_found', 'NOPE', 'Gone.') : undefined);
        const { value } = await messages.next();
        seen.push([value.reference, value.index, value.outcome.case]);
      }
      assert.deepEqual(seen, [
        ['app2', 2, 'signed'],
        ['app0', 0, 'error'],
        ['app1', 1, 'signed'],
      ]);
      assert.equal((await messages.next()).done, true);
      await idle(setup);
    });

    test('a caller who leaves ends what is under way, and the rest is not begun', async (t) => {
      const hang = hanging();
      const setup = await start(t, { sign: hang.sign });
      const { messages, leave } = open(setup, 100);
      const reading = assert.rejects(all(messages));
      await hang.reached(32);
      leave();
      await reading;
      await idle(setup);
      assert.equal(hang.contexts.length, 32);
      for (const { signal } of hang.contexts) assert.equal(signal.reason.code, 'cancelled');
      const batch = setup.world.logs.find(({ fields }) => fields['method'] === 'SignBatch');
      assert.equal(batch?.fields['code'], 'cancelled');
    });

    test('an item has the deadline of a request, the batch its own; what has not begun then is answered so', async (t) => {
      const hang = hanging();
      const setup = await start(t, { sign: hang.sign }, { maxRequestMs: 150, maxBatchMs: 1_000 });
      const messages = await all(open(setup, 1_000).messages);
      assert.equal(messages.length, 1_000);
      assert.equal(new Set(messages.map(({ reference }) => reference)).size, 1_000);
      for (const message of messages) assert.equal(errorOf(message).code, 4);
      assert.ok(hang.contexts.length >= 64, `${hang.contexts.length}: after a deadline of its own, the next begins`);
      assert.ok(hang.contexts.length < 1_000);
      const batch = setup.world.logs.find(({ fields }) => fields['method'] === 'SignBatch');
      assert.deepEqual([batch?.fields['code'], batch?.fields['items']], ['ok', { ok: 0, failed: 1_000 }]);
    });

    test('one that never heeds its signal is answered all the same', async (t) => {
      const setup = await start(t, { sign: () => new Promise(() => undefined) }, { maxRequestMs: 50 });
      const messages = await all(open(setup, 3).messages);
      assert.deepEqual(
        messages.map((message) => errorOf(message).code),
        [4, 4, 4],
      );
    });

    test('who does not read holds the work up, and loses nothing', async (t) => {
      let begun = 0;
      const result = signResult();
      const content = Buffer.alloc(100_000, 'x');
      const outputs = result.outputs.map((output) => ({ ...output, sealed: { ...output.sealed, content } }));
      const setup = await start(t, {
        sign: async () => {
          begun += 1;
          return { ...result, outputs };
        },
      });
      const messages = open(setup, 400).messages[Symbol.asyncIterator]();
      await messages.next();
      let before = -1;
      while (begun !== before) {
        before = begun;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      assert.ok(begun < 300, `${begun} of 400 were begun although nobody reads`);
      let count = 1;
      while (!(await messages.next()).done) count += 1;
      assert.equal(count, 400);
    });

    test('who reads nothing for long is left', async (t) => {
      const result = signResult();
      const content = Buffer.alloc(1_000_000, 'x');
      const outputs = result.outputs.map((output) => ({ ...output, sealed: { ...output.sealed, content } }));
      const setup = await start(t, { sign: async () => ({ ...result, outputs }) }, { readMs: 200 });
      const { messages, leave } = open(setup, 200);
      const reader = messages[Symbol.asyncIterator]();
      await reader.next();
      await idle(setup);
      const batch = setup.world.logs.find(({ fields }) => fields['method'] === 'SignBatch');
      assert.equal(batch?.fields['reason'], 'READER_STALLED');
      leave();
    });

    test('when the service stops, what has begun ends and the rest is answered SHUTTING_DOWN', async (t) => {
      const { gate, setup } = await startGated(t);
      const messages = open(setup, 40).messages[Symbol.asyncIterator]();
      await gate.reached(32);
      setup.world.stopBatches();
      for (let at = 0; at < 32; at++) gate.end(`app${at}`);
      const found: SignBatchResponse[] = [];
      for (let next = await messages.next(); !next.done; next = await messages.next()) found.push(next.value);
      assert.equal(found.filter(({ outcome }) => outcome.case === 'signed').length, 32);
      const left = found.filter(({ index }) => index >= 32).map(errorOf);
      assert.equal(left.length, 8);
      for (const { code, info, retry } of left) {
        assert.deepEqual([code, info?.reason, retry?.retryDelay?.seconds], [14, 'SHUTTING_DOWN', 1n]);
      }
    });

    test('a batch under way outlives the time that a request may take to arrive, and its connection may age', async (t) => {
      const hang = hanging();
      const setup = await start(
        t,
        { sign: hang.sign },
        {
          bodyMs: 1_000,
          headersMs: 1_000,
          maxConnectionAgeMs: 500,
          maxConnectionAgeGraceMs: 500,
        },
      );
      const reading = all(open(setup, 2).messages);
      await hang.reached(2);
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      hang.release();
      assert.deepEqual(
        (await reading).map(({ outcome }) => outcome.case),
        ['signed', 'signed'],
      );
    });
  });
}

describe('places', () => {
  test('a batch takes the places that nobody wants, and never more than its own when all are taken', async (t) => {
    const { gate, setup } = await startGated(t, { maxInFlight: 3 });
    const stream = openStream(setup.client, SigningService.method.signBatch, { items: many(6) });
    const messages = stream[Symbol.asyncIterator]();
    await gate.reached(4);
    assert.deepEqual([setup.world.edge.limiter.inFlight, setup.world.edge.batchLimiter.inFlight], [3, 1]);
    // Two requests come: the places go to them, as items end.
    const others = ['other1', 'other2'].map((name) =>
      callRest(setup.world.rest.port, '/v1/sign', {
        subject: { image: `registry.example/${name}:v1` },
        key: 'release',
      }),
    );
    while (setup.world.edge.limiter.queued < 2) await new Promise(setImmediate);
    for (const reference of ['app1', 'app2', 'app3']) {
      gate.end(reference);
      await messages.next();
    }
    await gate.reached(7);
    assert.deepEqual(gate.begun.slice(4).toSorted(), [
      'registry.example/app4:v1',
      'registry.example/other1:v1',
      'registry.example/other2:v1',
    ]);
    for (const reference of ['other1', 'other2', 'app0', 'app4']) gate.end(reference);
    await gate.reached(8);
    gate.end('app5');
    for (let next = await messages.next(); !next.done; next = await messages.next()) assert.ok(next.value);
    for (const { status } of await Promise.all(others)) assert.equal(status, 200);
    await idle(setup);
  });

  test('so many batches at once, as many more wait, one more is refused', async (t) => {
    const { gate, setup } = await startGated(t, { maxBatches: 1 });
    const call = (reference: string) =>
      openStream(setup.client, SigningService.method.signBatch, { items: [signItem(reference)] });
    const first = all(call('first'));
    await gate.reached(1);
    const second = all(call('second'));
    while (setup.world.edge.batchLimiter.queued < 1) await new Promise(setImmediate);
    await assert.rejects(all(call('third')), { code: 8 });
    gate.end('first');
    await first;
    await gate.reached(2);
    gate.end('second');
    assert.equal((await second).length, 1);
  });

  test('a batch that waited for its place may leave', async (t) => {
    const { gate, setup } = await startGated(t, { maxBatches: 1 });
    const first = openStream(setup.client, SigningService.method.signBatch, { items: many(1) });
    const reading = all(first);
    await gate.reached(1);
    const second = openStream(setup.client, SigningService.method.signBatch, { items: many(1) });
    const leaving = assert.rejects(all(second));
    while (setup.world.edge.batchLimiter.queued < 1) await new Promise(setImmediate);
    second.cancel();
    await leaving;
    while (setup.world.edge.batchLimiter.queued > 0) await new Promise(setImmediate);
    gate.end('app0');
    await reading;
  });
});

test('a batch that is under way is drained when both edges close', async (t) => {
  const { gate, setup } = await startGated(t);
  const readings = edges.map(({ open }) => all(open(setup, 2).messages));
  await gate.reached(4);
  const closed = Promise.all([setup.world.grpc.close(20_000), setup.world.rest.close(20_000)]);
  for (const reference of ['app0', 'app1']) gate.end(reference);
  for (const messages of await Promise.all(readings)) assert.equal(messages.length, 2);
  await closed;
});

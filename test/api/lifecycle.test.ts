import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import type { Context } from '../../src/model/context.ts';
import { hanging, request, restBody, sign, start } from './calls.ts';
import { authorized, callRest, detailsOf, grpcClient } from './clients.ts';
import { caller, signResult } from './world.ts';

describe('deadlines and cancelling', () => {
  test('the deadline of the client reaches the service as the deadline of the context', async (t) => {
    let remaining = 0;
    const { client } = await start(t, {
      sign: async (_command, _caller, context) => {
        remaining = context.deadline - performance.now();
        return signResult();
      },
    });
    await sign(client, { deadline: Date.now() + 5_000 });
    assert.ok(remaining > 4_000 && remaining <= 5_000, `${remaining}`);
    await sign(client);
    assert.ok(remaining > 29_000 && remaining <= 30_000, `${remaining}`);
    await sign(client, { deadline: Date.now() + 3_600_000 });
    assert.ok(remaining <= 30_000, `${remaining}`);
  });

  test('a deadline that passes ends the context with deadline_exceeded', async (t) => {
    const hang = hanging();
    const { client, world } = await start(t, { sign: hang.sign });
    const { error } = await sign(client, { deadline: Date.now() + 100 });
    assert.equal(error?.code, 4);
    const [context] = hang.contexts;
    assert.ok(context);
    if (!context.signal.aborted) await once(context.signal, 'abort');
    assert.match(context.signal.reason.code, /^(deadline_exceeded|cancelled)$/); // cancelled: the request was long on its way
    assert.equal(world.edge.limiter.inFlight, 0);
  });

  test('the longest time that the service allows ends a request, also one whose leg does not listen, on both edges', async (t) => {
    const { client, world } = await start(t, { sign: () => new Promise(() => undefined) }, { maxRequestMs: 50 });
    const { error } = await sign(client);
    assert.equal(error && detailsOf(error).info?.reason, 'DEADLINE_EXCEEDED');
    const rest = await callRest(world.rest.port, '/v1/sign', restBody);
    assert.equal(rest.status, 504);
    assert.equal(world.edge.limiter.inFlight, 2, 'work that still runs keeps its place');
  });

  test('REST: Prefer: wait=1 shortens the deadline', async (t) => {
    let remaining = 0;
    const { world } = await start(t, {
      sign: async (_command, _caller, context) => {
        remaining = context.deadline - performance.now();
        return signResult();
      },
    });
    await callRest(world.rest.port, '/v1/sign', restBody, { prefer: 'respond-async, wait=2' });
    assert.ok(remaining > 1_000 && remaining <= 2_000, `${remaining}`);
  });

  test('a client that cancels ends the context with cancelled', async (t) => {
    const hang = hanging();
    const { client, world } = await start(t, { sign: hang.sign });
    const body = toBinary(SigningService.method.sign.input, create(SigningService.method.sign.input, request));
    const path = '/countersign.v1.SigningService/Sign';
    const call = client.makeUnaryRequest(
      path,
      (b: Buffer) => b,
      (b: Buffer) => b,
      Buffer.from(body),
      authorized(),
      () => undefined,
    );
    await hang.reached(1);
    call.cancel();
    const context = hang.contexts[0];
    assert.ok(context);
    if (!context.signal.aborted) await once(context.signal, 'abort');
    assert.equal(context.signal.reason.code, 'cancelled');
    while (world.logs.length === 0) await new Promise(setImmediate);
    assert.equal(world.logs[0]?.fields['code'], 'cancelled');
  });

  test('REST: a client that hangs up ends the context with cancelled', async (t) => {
    const hang = hanging();
    const { world } = await start(t, { sign: hang.sign });
    const controller = new AbortController();
    const response = fetch(`http://127.0.0.1:${world.rest.port}/v1/sign`, {
      method: 'POST',
      signal: controller.signal,
      headers: { authorization: 'Bearer good.token.value', 'content-type': 'application/json' },
      body: JSON.stringify(restBody),
    });
    await hang.reached(1);
    controller.abort();
    await assert.rejects(response);
    const context = hang.contexts[0];
    assert.ok(context);
    if (!context.signal.aborted) await once(context.signal, 'abort');
    assert.equal(context.signal.reason.code, 'cancelled');
  });

  test('an answered request does not end its context', async (t) => {
    const contexts: Context[] = [];
    const { client } = await start(t, {
      authenticate: async (_credentials, context) => {
        contexts.push(context);
        return caller;
      },
    });
    await sign(client);
    await sign(client);
    assert.equal(contexts[0]?.signal.aborted, false);
  });
});

describe('overload', () => {
  test('a full queue answers RESOURCE_EXHAUSTED at once with RetryInfo, and the queued are served', async (t) => {
    const hang = hanging();
    const { client, world } = await start(t, { sign: hang.sign }, { maxInFlight: 1, maxQueued: 1 });
    const first = sign(client);
    await hang.reached(1);
    const second = sign(client);
    while (world.edge.limiter.queued < 1) await new Promise(setImmediate);
    const { error } = await sign(client);
    assert.equal(error?.code, 8);
    const { info, retry } = detailsOf(error);
    assert.equal(info?.reason, 'OVERLOADED');
    assert.equal(retry?.retryDelay?.seconds, 1n);
    const rest = await callRest(world.rest.port, '/v1/sign', restBody);
    assert.equal(rest.status, 429);
    assert.equal(rest.headers.get('retry-after'), '1');
    hang.release();
    assert.equal((await first).error, undefined);
    await hang.reached(2);
    hang.release();
    assert.equal((await second).error, undefined);
  });
});

describe('many at once and shutting down', () => {
  test('a hundred clients at once, each on its own connection, then a close: every one is answered', async (t) => {
    const hang = hanging();
    const { world } = await start(t, { sign: hang.sign });
    const clients = Array.from({ length: 100 }, () => grpcClient(world.grpc.port));
    t.after(() => {
      for (const client of clients) client.close();
    });
    const calls = clients.map((client) => sign(client));
    await hang.reached(100);
    const closed = world.grpc.close(10_000);
    hang.release();
    for (const { error } of await Promise.all(calls)) assert.equal(error, undefined);
    await closed;
    assert.equal(world.edge.limiter.inFlight, 0);
  });

  test('REST: requests in flight are answered while it closes, idle connections end', async (t) => {
    const hang = hanging();
    const { world } = await start(t, { sign: hang.sign });
    const idle = connect(world.rest.port, '127.0.0.1');
    await once(idle, 'connect');
    const calls = Array.from({ length: 20 }, () => callRest(world.rest.port, '/v1/sign', restBody));
    await hang.reached(20);
    const closed = world.rest.close(10_000);
    hang.release();
    for (const { status } of await Promise.all(calls)) assert.equal(status, 200);
    idle.destroy();
    await closed;
  });

  test('what hangs beyond the grace is cut off', async (t) => {
    const hang = hanging();
    const { client, world } = await start(t, { sign: hang.sign });
    const call = sign(client);
    const rest = callRest(world.rest.port, '/v1/sign', restBody);
    await hang.reached(2);
    const cut = assert.rejects(rest);
    await Promise.all([world.grpc.close(20), world.rest.close(20)]);
    assert.equal((await call).error?.code, 14);
    await cut;
    for (const { signal } of hang.contexts) if (!signal.aborted) await once(signal, 'abort');
  });
});

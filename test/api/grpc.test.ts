import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, type TestContext, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, compressionAlgorithms, credentials, Client as GrpcClient } from '@grpc/grpc-js';
import { startGrpc } from '../../src/api/grpc.ts';
import { defaultLimits, type Limits } from '../../src/api/limits.ts';
import { startRest } from '../../src/api/rest.ts';
import type { Service } from '../../src/api/service.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from '../../src/gen/grpc/health/v1/health_pb.ts';
import type { Context } from '../../src/model/context.ts';
import { authorized, callGrpc, callRaw, callRest, detailsOf, grpcClient, metadataWith } from './clients.ts';
import { caller, signResult, startWorld, type World } from './world.ts';

const start = async (t: TestContext, overrides: Partial<Service> = {}, limits: Partial<Limits> = {}) => {
  const world = await startWorld(overrides, limits);
  const client = grpcClient(world.grpc.port);
  t.after(async () => {
    client.close();
    await world.close();
  });
  return { world, client };
};

const request = {
  subject: { kind: { case: 'image' as const, value: 'registry.example/acme/app:v1' } },
  key: 'release',
};
const restBody = { subject: { image: 'registry.example/acme/app:v1' }, key: 'release' };
const sign = (client: Client, options = {}, metadata = authorized()) =>
  callGrpc(client, SigningService.method.sign, request, metadata, options);

/** A sign that hangs until its signal fires or the test lets it go. */
const hanging = () => {
  const contexts: Context[] = [];
  const started: (() => void)[] = [];
  const gates: (() => void)[] = [];
  return {
    contexts,
    /** Resolves when `count` calls hang. */
    reached: async (count: number): Promise<void> => {
      while (contexts.length < count) await new Promise<void>((resolve) => started.push(resolve));
    },
    release: (): void => {
      for (const open of gates) open();
    },
    sign: ((_command, _caller, context) =>
      new Promise((resolve, reject) => {
        contexts.push(context);
        for (const each of started.splice(0)) each();
        gates.push(() => resolve(signResult()));
        context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true });
      })) satisfies Service['sign'],
  };
};

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
    assert.match(context.signal.reason.code, /^(deadline_exceeded|cancelled)$/);
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

describe('health', () => {
  const health = (client: Client, name: string) =>
    callGrpc(client, Health.method.check, { service: name }, metadataWith({}));

  test('every service and the whole server answer without a token, and flip', async (t) => {
    const { client, world } = await start(t);
    for (const name of [
      '',
      SigningService.typeName,
      'countersign.v1.VerificationService',
      'countersign.v1.KeyService',
    ]) {
      assert.equal((await health(client, name)).message?.status, Serving.SERVING, name);
    }
    assert.equal((await health(client, 'nobody')).error?.code, 5);
    world.grpc.setServing(false);
    assert.equal((await health(client, SigningService.typeName)).message?.status, Serving.NOT_SERVING);
    world.grpc.setServing(true);
    assert.equal((await health(client, '')).message?.status, Serving.SERVING);
    const list = await callRaw(client, '/grpc.health.v1.Health/List', new Uint8Array(), metadataWith({}));
    assert.equal(Object.keys(fromBinary(HealthListResponseSchema, list.message ?? Buffer.alloc(0)).statuses).length, 4);
  });

  test('Watch tells of every change, and ends when the listener closes', async (t) => {
    const { client, world } = await start(t);
    const watch = client.makeServerStreamRequest(
      '/grpc.health.v1.Health/Watch',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes).status,
      Buffer.from(
        toBinary(HealthCheckRequestSchema, create(HealthCheckRequestSchema, { service: SigningService.typeName })),
      ),
    );
    const next = async (): Promise<unknown> => (await once(watch, 'data'))[0];
    assert.equal(await next(), Serving.SERVING);
    const flipped = next();
    world.grpc.setServing(false);
    assert.equal(await flipped, Serving.NOT_SERVING);
    const ended = once(watch, 'end');
    watch.resume();
    await Promise.all([world.grpc.close(5_000), ended]);
  });
});

describe('bytes on the wire', () => {
  test('a message above 4 MiB is refused, also when it is compressed', async (t) => {
    const { client, world } = await start(t);
    const big = Buffer.alloc(5 * 1024 * 1024);
    const path = '/countersign.v1.SigningService/Sign';
    assert.equal((await callRaw(client, path, big)).error?.code, 8);
    const gzip = new GrpcClient(`127.0.0.1:${world.grpc.port}`, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
    });
    t.after(() => gzip.close());
    assert.equal((await callRaw(gzip, path, big)).error?.code, 8);
    assert.equal((await sign(gzip)).error, undefined, 'a small compressed one is served');
    assert.equal((await sign(client)).error, undefined);
  });

  test('twenty messages of 2 MiB at once on one connection pass', async (t) => {
    const { client } = await start(t);
    const predicate = Buffer.alloc(2 * 1024 * 1024, 0x20);
    const results = await Promise.all(
      Array.from({ length: 20 }, () =>
        callGrpc(client, SigningService.method.attest, { ...request, predicateType: 'custom', predicate }),
      ),
    );
    for (const { error } of results) assert.equal(error, undefined);
  });

  test('an unknown method is UNIMPLEMENTED', async (t) => {
    const { client } = await start(t);
    assert.equal((await callRaw(client, '/countersign.v1.SigningService/Nope', new Uint8Array())).error?.code, 12);
  });

  test('bytes that are not HTTP/2, and broken frames, do not harm others', async (t) => {
    const { client, world } = await start(t);
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
    const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    const frames: Buffer[] = [
      Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
      Buffer.alloc(100, 0xff),
      Buffer.concat([preface, Buffer.from([0xff, 0xff, 0xff, 0x01, 0x04, 0, 0, 0, 1])]),
      Buffer.concat([preface, settings, Buffer.from([0, 0, 5, 1, 4, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff])]),
      Buffer.concat([preface, settings, Buffer.from([0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 8])]),
      Buffer.concat([preface, settings, Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0])]),
    ];
    for (const bytes of frames) {
      const socket = connect(world.grpc.port, '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(bytes);
      const closed = once(socket, 'close');
      socket.resume();
      await closed;
    }
    assert.equal((await sign(client)).error, undefined);
  });

  test('a connection that stays silent is closed', async (t) => {
    const { world } = await start(t, {}, { firstByteMs: 30 });
    const socket = connect(world.grpc.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await once(socket.resume(), 'close');
  });

  test('connections beyond the bound are closed, and places come back', async (t) => {
    const { world } = await start(t, {}, { maxConnections: 2 });
    const sockets = [1, 2].map(() => connect(world.grpc.port, '127.0.0.1'));
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    const third = connect(world.grpc.port, '127.0.0.1');
    third.on('error', () => undefined);
    await once(third.resume(), 'close');
    for (const socket of sockets) socket.destroy();
    const late = grpcClient(world.grpc.port);
    t.after(() => late.close());
    const result = await sign(late, { deadline: Date.now() + 5_000 }, authorized());
    assert.equal(result.error, undefined);
  });
});

test('an address in use is an error, not a crash', async (t) => {
  const { world } = await start(t);
  const address = { host: '127.0.0.1', port: world.grpc.port };
  const options = { edge: world.edge, address, security: { kind: 'plaintext' as const }, limits: defaultLimits };
  await assert.rejects(startGrpc(options), { code: 'EADDRINUSE' });
  await assert.rejects(startRest(options), { code: 'EADDRINUSE' });
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

test('one line of log a request: who, what, how it ended; no token', async (t) => {
  const { client, world } = await start(t);
  const logs = (w: World) => w.logs;
  await sign(client, {}, authorized({ 'x-request-id': 'abc' }));
  await callRest(world.rest.port, '/nowhere');
  assert.equal(logs(world).length, 2);
  const [first, second] = logs(world);
  assert.equal(first?.fields['requestId'], 'abc');
  assert.equal(first.fields['method'], 'Sign');
  assert.equal(first.fields['subject'], caller.subject);
  assert.equal(second?.fields['method'], 'unknown');
  assert.ok(!JSON.stringify(logs(world)).includes('good.token'));
});

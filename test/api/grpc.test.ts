import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { connect } from 'node:net';
import { describe, test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Client, compressionAlgorithms, credentials, Client as GrpcClient } from '@grpc/grpc-js';
import { startGrpc } from '../../src/api/grpc.ts';
import { defaultLimits } from '../../src/api/limits.ts';
import { startRest } from '../../src/api/rest.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import {
  Health,
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Serving,
  HealthCheckResponseSchema,
  HealthListResponseSchema,
} from '../../src/gen/grpc/health/v1/health_pb.ts';
import { request, sign, start } from './calls.ts';
import { authorized, callGrpc, callRaw, callRest, grpcClient, metadataWith } from './clients.ts';
import { caller, type World } from './world.ts';

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

  test('a message that does not end is ended, without a token and a deadline, and harms no other on its connection', async (t) => {
    const { world } = await start(t, {}, { bodyMs: 600, headersMs: 500 });
    const session = connectHttp2(`http://127.0.0.1:${world.grpc.port}`);
    t.after(() => session.destroy());
    const open = (path: string) => {
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
      const head = Buffer.alloc(5);
      head.writeUInt32BE(1_000_000, 1);
      stream.write(Buffer.concat([head, Buffer.alloc(10_000)]));
      return stream;
    };
    const slow = [
      open('/countersign.v1.SigningService/Sign'),
      open('/grpc.health.v1.Health/Check'),
      open('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo'),
    ];
    // A client that drips counts as one that does not end.
    const drip = setInterval(() => slow[0]?.write(Buffer.alloc(1)), 50);
    t.after(() => clearInterval(drip));
    const watch = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Watch',
      'content-type': 'application/grpc',
    });
    watch.end(Buffer.alloc(5));
    await Promise.all(
      slow.map((stream) =>
        once(
          stream.on('error', () => undefined),
          'close',
        ),
      ),
    );
    assert.deepEqual(
      slow.map((stream) => stream.rstCode),
      [constants.NGHTTP2_CANCEL, constants.NGHTTP2_CANCEL, constants.NGHTTP2_CANCEL],
    );
    // Whoever has sent its request may wait for answers as long as it likes.
    assert.equal(watch.closed, false);
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

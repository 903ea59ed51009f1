import assert from 'node:assert/strict';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import { type TestContext, test } from 'node:test';
import { credentials } from '@grpc/grpc-js';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import { authorized, callGrpc, grpcClient } from './clients.ts';
import { makeCertificates, type Pair } from '../certificates.ts';
import { goodToken, startWorld } from './world.ts';

const { ca, server, client, stranger } = makeCertificates();

const start = async (t: TestContext, clientCa: string | undefined, requireClientCertificate: boolean) => {
  const material = clientCa === undefined ? server : { ...server, ca: clientCa };
  const world = await startWorld({}, { tlsHandshakeMs: 200 }, { kind: 'tls', material, requireClientCertificate });
  t.after(() => world.close());
  const overGrpc = async (pair?: Pair) => {
    const channel = credentials.createSsl(
      Buffer.from(ca),
      pair === undefined ? null : Buffer.from(pair.key),
      pair === undefined ? null : Buffer.from(pair.cert),
    );
    const grpc = grpcClient(world.grpc.port, channel);
    const result = await callGrpc(grpc, KeyService.method.listKeys, {}, authorized(), { deadline: Date.now() + 3_000 });
    grpc.close();
    return result.error?.code ?? 'ok';
  };
  const overRest = (pair?: Pair): Promise<number | string> =>
    new Promise((resolve) => {
      const options = {
        host: '127.0.0.1',
        port: world.rest.port,
        path: '/v1/keys',
        ca,
        agent: false as const,
        ...pair,
      };
      const request = httpsRequest({ ...options, headers: { authorization: `Bearer ${goodToken}` } }, (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.on('error', () => resolve('refused'));
      request.end();
    });
  return { world, overGrpc, overRest };
};

test('TLS on both listeners', async (t) => {
  const { overGrpc, overRest } = await start(t, undefined, false);
  assert.equal(await overGrpc(), 'ok');
  assert.equal(await overRest(), 200);
});

test('mTLS, required: only a client of the CA is served', async (t) => {
  const { overGrpc, overRest } = await start(t, ca, true);
  assert.equal(await overGrpc(client), 'ok');
  assert.equal(await overRest(client), 200);
  assert.equal(await overGrpc(), 14);
  assert.equal(await overRest(), 'refused');
  assert.equal(await overGrpc(stranger), 14);
  assert.equal(await overRest(stranger), 'refused');
});

test('mTLS, not required: a client may come without a certificate', async (t) => {
  const { overGrpc, overRest } = await start(t, ca, false);
  assert.equal(await overGrpc(), 'ok');
  assert.equal(await overRest(), 200);
  assert.equal(await overGrpc(client), 'ok');
});

test('plain text, old TLS and another protocol get nowhere on a TLS listener', async (t) => {
  const { world } = await start(t, undefined, false);
  const plain = grpcClient(world.grpc.port);
  const { error } = await callGrpc(plain, KeyService.method.listKeys, {}, authorized(), {
    deadline: Date.now() + 2_000,
  });
  plain.close();
  assert.ok(error);
  const outcome = (options: object): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: world.grpc.port, ca, ...options });
      socket.once('error', () => resolve('refused'));
      socket.once('close', () => resolve('closed'));
      socket.resume();
    });
  assert.equal(await outcome({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }), 'refused');
  assert.equal(await outcome({ ALPNProtocols: ['http/1.1'] }), 'refused');
  assert.equal(await outcome({}), 'closed');
});

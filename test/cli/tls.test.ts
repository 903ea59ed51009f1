import { ServerCredentials } from '@grpc/grpc-js';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import { selfSigned } from '../certificates.ts';
import { capture } from './capture.ts';
import { answering, startFakeService, startFakeServiceWith } from './fake-service.ts';

const server = selfSigned();
const client = selfSigned();
const folder = await mkdtemp(join(tmpdir(), 'countersign-cli-'));
const write = async (name: string, content: string): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};
const pairs = [{ cert_chain: Buffer.from(server.cert), private_key: Buffer.from(server.key) }];
const service = await startFakeServiceWith(
  ServerCredentials.createSsl(Buffer.from(client.cert), pairs, true),
  answering(KeyService.method.listKeys, ({ authorization }) => ({ keys: [{ name: authorization ?? 'nobody' }] })),
);
after(async () => {
  service.stop();
  await rm(folder, { recursive: true });
});
const address = service.server.replace('grpc://', 'grpcs://');
const ca = await write('ca.pem', server.cert);
const certificate = await write('client.pem', client.cert);
const key = await write('client.key', client.key);
const list = (...args: readonly string[]) =>
  capture(['keys', 'list', '--server', address, '--token', 'a.b.c', '--timeout', '2s', ...args]);

test('TLS with a CA of our own and a client certificate', async () => {
  const { code, out, err } = await list('--ca-file', ca, '--client-cert', certificate, '--client-key', key);
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.match(out, /Bearer a\.b\.c/);
});

test('a server that no known CA vouches for, or a missing client certificate, is unavailable', async () => {
  const unknown = await list('--client-cert', certificate, '--client-key', key);
  assert.equal(unknown.code, 7);
  assert.match(unknown.err, /has a certificate that is not trusted \(self.signed.*--ca-file/i);
  const nobody = await list('--ca-file', ca);
  assert.equal(nobody.code, 7);
  assert.match(nobody.err, /wants another client certificate: .*--client-cert/);
});

test('TLS asked of a port without it, plain text of one with it, HTTP where gRPC is meant: each is told', async (t) => {
  const plain = await startFakeService(answering(KeyService.method.listKeys, () => ({ keys: [] })));
  const http = createServer().listen(0, '127.0.0.1');
  await once(http, 'listening');
  t.after(() => {
    plain.stop();
    http.close();
  });
  const ask = (to: string) => capture(['keys', 'list', '--server', to, '--timeout', '2s']);
  assert.match((await ask(plain.server.replace('grpc://', 'grpcs://'))).err, /does not speak TLS; .* grpc:\/\/127/);
  assert.match((await ask(service.server)).err, /whether it speaks TLS \(grpcs:\/\/\)/);
  const { port } = http.address() as AddressInfo;
  assert.match((await ask(`grpc://127.0.0.1:${port}`)).err, /does not speak gRPC/);
});

test('TLS files for a server without TLS are not silently left unused', async (t) => {
  const plain = await startFakeService(answering(KeyService.method.listKeys, () => ({ keys: [] })));
  t.after(() => plain.stop());
  const ask = (args: readonly string[], env = {}) => capture(['keys', 'list', '--server', plain.server, ...args], env);
  const authority = plain.server.replace('grpc://', '');
  const withCa = await ask(['--ca-file', ca]);
  assert.equal(withCa.code, 2);
  assert.match(withCa.err, new RegExp(`--ca-file would be ignored: ${authority} is reached without TLS.*grpcs://`));
  const withClient = await ask(['--client-cert', certificate, '--client-key', key]);
  assert.equal(withClient.code, 2);
  assert.match(withClient.err, /--client-cert and --client-key would be ignored/);
  assert.equal((await ask([], { COUNTERSIGN_CA_FILE: ca })).code, 2);
  assert.equal((await capture(['keys', 'list', '--server', authority, '--plaintext', '--ca-file', ca])).code, 2);
  assert.equal((await ask([])).code, 0);
});

test('files that hold no PEM are named as the fault', async () => {
  const garbage = await write('garbage.pem', 'garbage');
  const { code, err } = await list('--ca-file', ca, '--client-cert', garbage, '--client-key', garbage);
  assert.equal(code, 6);
  assert.match(err, /CERTIFICATE_UNREADABLE/);
  assert.equal((await list('--ca-file', join(folder, 'absent'))).code, 6);
});

// Certificates of SPIFFE and of meshes live for an hour: what the TLS files say later counts for new connections.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { connect, type ConnectionOptions } from 'node:tls';
import { renewCertificates } from '../../src/renew-certificates.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { makeCertificates, type Pair, selfSigned } from '../certificates.ts';
import { startServiceWorld } from '../service-world.ts';

/** What makes a server answer. */
const greetings = {
  grpc: Buffer.from([...Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 0, 0, 0, 4, 0, 0, 0, 0, 0]),
  rest: 'GET / HTTP/1.1\r\nhost: localhost\r\n\r\n',
};

const fingerprintOf = (pem: string): string => new X509Certificate(pem).fingerprint256;

const start = async (t: TestContext, clientCa?: string) => {
  const folder = mkdtempSync(join(tmpdir(), 'renewed-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string): string => join(folder, name);
  const write = ({ cert, key }: Pair): void => {
    writeFileSync(file('server.crt'), cert);
    writeFileSync(file('server.key'), key);
  };
  const first = selfSigned();
  write(first);
  if (clientCa !== undefined) writeFileSync(file('clients.crt'), clientCa);
  const tls = {
    certFile: file('server.crt'),
    keyFile: file('server.key'),
    ...(clientCa === undefined ? {} : { clientCaFile: file('clients.crt') }),
  };
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger(
    { level: 'info', format: 'json' },
    { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  );
  const listener = { address: '127.0.0.1:0', tls };
  const world = await startServiceWorld({
    keys: [{ name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    plainHttpHosts: [],
    settings: { listeners: { grpc: listener, rest: listener } },
    logger,
  });
  t.after(() => world.stop());
  // After the first look, which gives the listeners what they have, with new keys for tickets.
  await world.service.reload();
  const portOf = (which: 'grpc' | 'rest'): number => Number(world.service.addresses[which]?.split(':').at(-1));

  /** What a new connection is shown: the fingerprint, that its session was resumed, or that it was turned away. */
  const shown = (which: 'grpc' | 'rest', options: ConnectionOptions = {}): Promise<string> =>
    new Promise((resolve) => {
      const ALPNProtocols = [which === 'grpc' ? 'h2' : 'http/1.1'];
      const socket = connect({
        host: '127.0.0.1',
        port: portOf(which),
        rejectUnauthorized: false,
        ALPNProtocols,
        ...options,
      });
      socket.once('error', () => resolve('turned away'));
      socket.once('close', () => resolve('turned away'));
      // With TLS 1.3 the server judges the client's certificate when the client has finished: only an answer tells.
      socket.once('data', () => {
        resolve(socket.isSessionReused() ? 'resumed' : socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
      socket.once('secureConnect', () => socket.write(greetings[which]));
    });
  return { world, file, write, first, shown, portOf, lines };
};

test('a new certificate is shown to new connections of both listeners; open ones go on', async (t) => {
  const { world, write, first, shown, portOf, lines } = await start(t);
  const session = connectHttp2(`https://127.0.0.1:${portOf('grpc')}`, { rejectUnauthorized: false });
  t.after(() => session.destroy());
  await once(session, 'connect');
  for (const which of ['grpc', 'rest'] as const) assert.equal(await shown(which), fingerprintOf(first.cert));

  const second = selfSigned();
  write(second);
  await world.service.reload();
  for (const which of ['grpc', 'rest'] as const) assert.equal(await shown(which), fingerprintOf(second.cert));
  const stream = session.request({
    ':method': 'POST',
    ':path': '/grpc.health.v1.Health/Check',
    'content-type': 'application/grpc',
  });
  stream.end(Buffer.alloc(5));
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  assert.equal(headers[':status'], 200, 'the connection that was open');
  stream.destroy();
  const told = lines.filter(({ msg }) => msg === 'a listener has a new certificate').map(({ listener }) => listener);
  assert.deepEqual(told.sort(), ['grpc', 'rest']);
});

test('files with a mistake are told once, and what was there stays; then they are taken when they are right', async (t) => {
  const { world, file, write, first, shown, lines } = await start(t);
  const second = selfSigned();
  writeFileSync(file('server.crt'), second.cert);
  await world.service.reload();
  await world.service.reload();
  assert.equal(await shown('rest'), fingerprintOf(first.cert));
  const warnings = lines.filter(({ level }) => level === 'warn');
  assert.deepEqual(warnings.map(({ listener }) => listener).sort(), ['grpc', 'rest'], JSON.stringify(warnings));
  assert.match(JSON.stringify(warnings), /is not the key of the certificate/);
  assert.doesNotMatch(JSON.stringify(lines), /PRIVATE KEY/);
  write(second);
  await world.service.reload();
  assert.equal(await shown('rest'), fingerprintOf(second.cert));
});

test('another CA for clients: those of the old one are turned away, with a ticket of an old session too', async (t) => {
  const [old, fresh] = [makeCertificates(), makeCertificates()];
  const { world, file, first, shown, portOf } = await start(t, old.ca);
  assert.equal(await shown('rest', old.client), fingerprintOf(first.cert));
  assert.equal(await shown('rest', fresh.client), 'turned away');
  const socket = connect({ host: '127.0.0.1', port: portOf('rest'), rejectUnauthorized: false, ...old.client });
  const ticket = new Promise<Buffer>((resolve) => socket.once('session', resolve));
  socket.write(greetings.rest);
  socket.resume();
  const session = await ticket;
  socket.destroy();
  assert.equal(await shown('rest', { ...old.client, session }), 'resumed');

  writeFileSync(file('clients.crt'), fresh.ca);
  await world.service.reload();
  assert.equal(await shown('rest', old.client), 'turned away');
  assert.equal(await shown('rest', { ...old.client, session }), 'turned away');
  assert.equal(await shown('grpc', old.client), 'turned away');
  for (const which of ['grpc', 'rest'] as const)
    assert.equal(await shown(which, fresh.client), fingerprintOf(first.cert));
});

test('the files are looked at by themselves', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'renewed-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const files = { certFile: join(folder, 'server.crt'), keyFile: join(folder, 'server.key') };
  const write = ({ cert, key }: Pair): void => {
    writeFileSync(files.certFile, cert);
    writeFileSync(files.keyFile, key);
  };
  const [first, second] = [selfSigned(), selfSigned()];
  write(first);
  const given: string[] = [];
  const renewed = Promise.withResolvers<void>();
  const renew = ({ cert }: { readonly cert: string }): void => {
    given.push(cert);
    if (cert === second.cert) renewed.resolve();
  };
  const logger = createLogger({ level: 'silent', format: 'json' });
  const renewal = renewCertificates([{ name: 'grpc', files, renew }], logger, 20);
  t.after(() => renewal.stop());
  await renewal.look();
  write(second);
  // The timer of the renewal does not keep the process; this one does.
  const waiting = setTimeout(() => renewed.reject(new Error('never')), 20_000);
  await renewed.promise.finally(() => clearTimeout(waiting));
  assert.deepEqual(given, [first.cert, second.cert]);
});

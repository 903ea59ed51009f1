import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { readTlsFiles } from '../../src/net/tls.ts';
import { selfSigned } from '../certificates.ts';

let folder: string;
const own = selfSigned();
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tls-'));
  await writeFile(join(folder, 'own.crt'), own.cert);
  await writeFile(join(folder, 'own.key'), own.key);
  await writeFile(join(folder, 'other.key'), selfSigned().key);
  await writeFile(join(folder, 'text'), 'neither');
  await writeFile(join(folder, 'large'), Buffer.alloc(1024 * 1024 + 1, 0x20));
});
after(() => rm(folder, { recursive: true }));

const read = (certFile: string, keyFile: string, clientCaFile?: string) =>
  readTlsFiles({
    certFile: join(folder, certFile),
    keyFile: join(folder, keyFile),
    ...(clientCaFile === undefined ? {} : { clientCaFile: join(folder, clientCaFile) }),
  });

test('certificate, key and client CA are read', async () => {
  assert.deepEqual(await read('own.crt', 'own.key'), { cert: own.cert, key: own.key });
  assert.equal((await read('own.crt', 'own.key', 'own.crt')).ca, own.cert);
});

test('each bad file is named, and a key that is not the certificate’s is refused', async () => {
  const cases: [args: [string, string, string?], file: string, what: RegExp][] = [
    [['absent', 'own.key'], 'absent', /ENOENT/],
    [['text', 'own.key'], 'text', /no PEM certificate/],
    [['own.crt', 'text'], 'text', /private key/],
    [['own.crt', 'own.crt'], 'own.crt', /private key/],
    [['own.crt', 'other.key'], 'other.key', /is not the key of the certificate/],
    [['own.crt', 'own.key', 'text'], 'text', /no PEM certificate/],
    [['own.crt', 'large'], 'large', /larger/],
  ];
  for (const [args, file, what] of cases) {
    await assert.rejects(read(...args), (error) => {
      assert(error instanceof CountersignError);
      assert.equal(error.code, 'failed_precondition');
      assert.equal(error.reason, 'TLS_FILE_INVALID');
      assert(error.message.includes(join(folder, file)), error.message);
      assert.match(error.message, what);
      return true;
    });
  }
});

test('the client trusts the CA that it is given, and no other', async (t) => {
  const server = createServer(await read('own.crt', 'own.key'), (_, response) => response.end('secret'));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const trusting = createHttpClient({ plainHttpHosts: [], ca: [own.cert] });
  const wary = createHttpClient({ plainHttpHosts: [] });
  t.after(async () => {
    await Promise.all([trusting.close(), wary.close()]);
    server.closeAllConnections();
    server.close();
  });
  const request = { method: 'GET', url, headers: {}, maxBytes: 100 } as const;
  const { context } = openContext('test', 5_000);
  assert.equal(Buffer.from((await trusting.request(request, context)).body).toString(), 'secret');
  await assert.rejects(wary.request(request, context), (error) => {
    assert(error instanceof CountersignError);
    assert.equal(error.code, 'unavailable');
    assert.equal(error.reason, 'TLS_FAILED', error.message);
    return true;
  });
});

test('a server that speaks plain text where TLS is meant is told as such, and what to do', async (t) => {
  const server = createPlainServer((_, response) => response.end('secret'));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createHttpClient({ plainHttpHosts: [] });
  t.after(async () => {
    await client.close();
    server.close();
  });
  const request = { method: 'GET', url: `https://${host}/`, headers: {}, maxBytes: 100 } as const;
  await assert.rejects(client.request(request, openContext('test', 5_000).context), {
    reason: 'TLS_FAILED',
    message: `${host} does not speak TLS; if plain text is meant, say so (of a registry: in registry.plainHttpHosts).`,
  });
});

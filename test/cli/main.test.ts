import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const mainPath = join(import.meta.dirname, '..', '..', 'src', 'countersign.js');

type Finished = { readonly code: number; readonly stdout: string; readonly stderr: string };
const main = (...args: readonly string[]): Promise<Finished> =>
  promisify(execFile)(process.execPath, [mainPath, ...args], { env: { PATH: process.env['PATH'] } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: Finished) => error,
  );

test('version, help and mistakes, as a process', async () => {
  const version = await main('version', '--output', 'json');
  assert.equal(JSON.parse(version.stdout).node, process.versions.node);
  assert.equal((await main('--version')).code, 0);
  const help = await main('help');
  for (const name of ['serve', 'dev', 'demo', 'sign', 'policy test', 'check-config']) {
    assert.match(help.stdout, new RegExp(`^  ${name} `, 'm'));
  }
  for (const name of ['serve', 'dev', 'demo']) {
    const own = await main(name, '--help');
    assert.equal(own.code, 0);
    assert.match(own.stdout, new RegExp(`^countersign ${name}: `));
  }
  const unknown = await main('srve');
  assert.equal(unknown.code, 2);
  assert.match(unknown.stderr, /Did you mean serve\?/);
  const absent = await main('serve', '--config', '/nonexistent/config.yaml');
  assert.equal(absent.code, 6);
  assert.match(absent.stderr, /CONFIG_UNREADABLE/);
});

test('a process whose service never answers ends at its deadline', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const begun = performance.now();
  const { port } = silent.address() as AddressInfo;
  const { code, stderr } = await main('keys', 'list', '--server', `grpc://127.0.0.1:${port}`, '--timeout', '500ms');
  for (const socket of sockets) socket.destroy();
  silent.close();
  assert.equal(code, 7);
  assert.ok(performance.now() - begun < 5_000);
  assert.ok(!stderr.includes('\u001b') && !stderr.includes('...'), 'no progress where nobody watches');
});

test('a reader that goes away is no failure', async () => {
  const child = spawn(process.execPath, [mainPath, 'check-config', '--print-schema'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  child.stdout.destroy();
  const [code] = await once(child, 'close');
  assert.equal(stderr, '');
  assert.equal(code, 0);
});

test('the launcher runs here, and under a Node.js that is too old on the one that came as an npm package', async () => {
  const launcher = join(import.meta.dirname, '..', '..', 'src', 'countersign.js');
  const start = (...args: readonly string[]) =>
    promisify(execFile)(process.execPath, [...args, launcher, 'version', '--output', 'json']);
  assert.equal(JSON.parse((await start()).stdout).node, process.versions.node);

  const versions = `{ ...process.versions, node: '20.19.0' }`;
  const old = ['--import', `data:text/javascript,Object.defineProperty(process, 'versions', { value: ${versions} })`];
  const packaged = existsSync(
    join(import.meta.dirname, '..', '..', 'node_modules', `node-${process.platform}-${process.arch}`),
  );
  if (packaged) assert.match(JSON.parse((await start(...old)).stdout).node, /^24\./);
  else await assert.rejects(start(...old), { code: 78 });
});

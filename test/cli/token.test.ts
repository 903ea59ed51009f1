import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import { capture } from './capture.ts';
import { answering, startFakeService, status } from './fake-service.ts';

/** Runs `keys list` and answers the authorization header that arrived. */
const sent = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
  let authorization: string | undefined;
  const service = await startFakeService(
    answering(KeyService.method.listKeys, (received) => {
      authorization = received.authorization;
      return { keys: [] };
    }),
  );
  const result = await capture(['keys', 'list', '--server', service.server, ...args], env);
  service.stop();
  return { authorization, ...result };
};

test('a token comes from the option, a file, a named variable or the environment', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'token');
  await writeFile(file, 'from.file.x\n');
  assert.equal((await sent(['--token', 'given.by.option'])).authorization, 'Bearer given.by.option');
  assert.equal((await sent([], { COUNTERSIGN_TOKEN: 'from.env.x' })).authorization, 'Bearer from.env.x');
  assert.equal((await sent(['--token-file', file])).authorization, 'Bearer from.file.x');
  assert.equal((await sent([], { COUNTERSIGN_TOKEN_FILE: file })).authorization, 'Bearer from.file.x');
  assert.equal((await sent(['--token-env', 'ID_TOKEN'], { ID_TOKEN: 'git.lab.x' })).authorization, 'Bearer git.lab.x');
});

test('what the arguments say wins over the environment, and only one of them can be said', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-cli-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'token');
  await writeFile(file, 'from.file.x\n');
  const env = { COUNTERSIGN_TOKEN: 'from.env.x', COUNTERSIGN_TOKEN_FILE: '/nonexistent', ID_TOKEN: 'git.lab.x' };
  assert.equal((await sent(['--token-file', file], env)).authorization, 'Bearer from.file.x');
  assert.equal((await sent(['--token-env', 'ID_TOKEN'], env)).authorization, 'Bearer git.lab.x');
  assert.equal((await sent([], env)).authorization, 'Bearer from.env.x');
  const absent = await sent(['--token-file', join(folder, 'none')], env);
  assert.equal(absent.code, 6);
  assert.equal(absent.authorization, undefined);
  const both = await sent(['--token-file', file, '--token', 'a.b.c']);
  assert.equal(both.code, 2);
  assert.match(both.err, /Only one of --token-file and --token can be used/);
});

test('GitHub Actions is asked for a token of our audience', async () => {
  const asked: string[] = [];
  const github = createServer((request, response) => {
    asked.push(`${request.headers.authorization} ${request.url}`);
    const allowed = request.headers.authorization === 'Bearer runner-secret';
    response.writeHead(allowed ? 200 : 403).end(JSON.stringify(allowed ? { value: 'from.git.hub' } : {}));
  }).listen(0, '127.0.0.1');
  await once(github, 'listening');
  const url = `http://127.0.0.1:${(github.address() as AddressInfo).port}/token?api-version=2.0`;
  const env = { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'runner-secret' };
  const granted = await sent(['--audience', 'sign.example'], env);
  const refused = await sent([], { ...env, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'wrong' });
  github.close();
  assert.equal(granted.authorization, 'Bearer from.git.hub');
  assert.deepEqual(asked[0], 'Bearer runner-secret /token?api-version=2.0&audience=sign.example');
  assert.equal(refused.code, 7);
  assert.match(refused.err, /TOKEN_NOT_ISSUED/);
  assert.match(refused.err, /id-token: write/);
});

test('what cannot be a token is refused without being shown', async () => {
  for (const bad of ['two words', 'line\nbreak', 'ümlaut']) {
    const { code, err, authorization } = await sent([], { COUNTERSIGN_TOKEN: bad });
    assert.equal(code, 2);
    assert.equal(authorization, undefined);
    assert.ok(!err.includes(bad));
  }
  assert.equal((await sent(['--token-env', 'MISSING'])).code, 2);
  assert.equal((await sent(['--token-file', '/nonexistent/token'])).code, 6);
});

test('a token does not travel to another machine in the clear unless that is said', async () => {
  const { code, err } = await capture(['keys', 'list', '--server', 'grpc://192.0.2.1:1', '--token', 'a.b.c']);
  assert.equal(code, 2);
  assert.match(err, /unencrypted/);
});

test('a refused call without a token says how to bring one', async () => {
  const service = await startFakeService(
    answering(KeyService.method.listKeys, () => ({
      refuse: { code: status.UNAUTHENTICATED, reason: 'TOKEN_MISSING', message: 'A token is needed.' },
    })),
  );
  const without = await capture(['keys', 'list', '--server', service.server]);
  const withToken = await capture(['keys', 'list', '--server', service.server, '--token', 'a.b.c']);
  service.stop();
  assert.equal(without.code, 3);
  assert.match(without.err, /To send one, set COUNTERSIGN_TOKEN_FILE/);
  assert.equal(withToken.code, 3);
  assert.doesNotMatch(withToken.err, /To send one/);
});

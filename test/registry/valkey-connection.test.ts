// What a connection to Valkey does about servers that fail as no healthy one does, and what it never says.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { leaseSettings } from '../../src/registry/leases/settings.ts';
import { openLease } from '../../src/registry/leases/open.ts';
import { connectValkey, type ValkeyOptions } from '../../src/registry/leases/valkey-connection.ts';
import { eventually } from './credential-world.ts';
import { startFakeValkey } from './fake-valkey.ts';
import { isError, within } from './world.ts';

const password = 'a-secret-of-the-test';

const open = async (t: TestContext, more: Partial<ValkeyOptions> = {}) => {
  const server = await startFakeValkey();
  const told: (string | undefined)[] = [];
  const connect = (url = server.url) =>
    connectValkey({
      url,
      credentials: async () => ({ password }),
      allowPrivate: [],
      told: (problem) => void told.push(problem?.message),
      ...more,
    });
  const connection = await connect();
  t.after(() => Promise.all([connection.close(), server.close()]));
  const run = () => connection.run('return 1', ['key'], []);
  return { server, connect, connection, told, run };
};

const isUnavailable = isError('unavailable', 'LEASE_UNAVAILABLE');

describe('a server that fails', () => {
  test('it closes the connection instead of an answer: asked again over a new one', async (t) => {
    const { server, run, told } = await open(t);
    server.answer(([name], connection) => (name === 'AUTH' ? '+OK' : connection === 0 ? 'end' : ':1'));
    assert.equal(await run(), 1);
    assert.equal(server.seen.length, 2);
    assert.equal(told.filter((message) => message !== undefined).length, 1);
    assert.equal(told.at(-1), undefined);
  });

  test('it says nothing: an error after seconds, and a new connection', async (t) => {
    const { server, run, connection } = await open(t);
    assert.equal(await run(), 1);
    server.answer(([name]) => (name === 'AUTH' ? '+OK' : 'silence'));
    await assert.rejects(run(), isUnavailable);
    server.answer(([name]) => (name === 'AUTH' ? '+OK' : ':1'));
    await eventually(async () => assert.equal(await run(), 1));
    assert.ok(connection.upForMs() > 0 && connection.upForMs() < 5_000);
    assert.ok(server.seen.length > 1);
  });

  test('it lets us in and then says nothing to AUTH: connected anew', async (t) => {
    const { server, run } = await open(t);
    server.answer(([name], connection) => (name === 'AUTH' ? (connection === 0 ? 'silence' : '+OK') : ':1'));
    await eventually(async () => assert.equal(await run(), 1));
    assert.ok(server.seen.length >= 2);
  });

  test('it has become a replica: a new connection, which may lead to the new primary', async (t) => {
    const { server, run } = await open(t);
    server.answer(([name], connection) =>
      name === 'AUTH' ? '+OK' : connection === 0 ? "-READONLY You can't write against a read only replica." : ':1',
    );
    await assert.rejects(run(), isUnavailable);
    assert.equal(await run(), 1);
  });

  test('nobody listens: an error after seconds at most', async (t) => {
    const { connection, server, run } = await open(t);
    assert.equal(await run(), 1);
    await server.close();
    await assert.rejects(run(), isUnavailable);
    assert.equal(connection.upForMs(), 0);
  });
});

test('an error that quotes what it was sent is not repeated, neither to the caller nor to the log', async (t) => {
  const { server, run, told } = await open(t);
  server.answer(([name]) =>
    name === 'AUTH' ? `-ERR unknown command 'AUTH', with args beginning with: '${password}'` : 'end',
  );
  await assert.rejects(run(), (error) => {
    assert.ok(!inspect(error, { depth: 10 }).includes(password), inspect(error));
    return isUnavailable(error);
  });
  assert.ok(server.seen.flat().some(([name, sent]) => name === 'AUTH' && sent === password));
  assert.ok(!told.join(' ').includes(password));
});

describe('egress', () => {
  for (const url of ['redis://169.254.169.254:6379', 'redis://[fe80::1]:6379', 'redis://0xa9fea9fe:6379']) {
    test(`${url} is refused`, async (t) => {
      const { connect } = await open(t);
      await assert.rejects(connect(url), isError('failed_precondition', 'EGRESS_DENIED'));
    });
  }

  test('a name is resolved by us, and what it means is judged before it is connected to', async (t) => {
    const { run, connect, server } = await open(t, {
      resolve: async (hostname) => [
        { address: hostname === 'metadata.example' ? '169.254.169.254' : '127.0.0.1', family: 4 },
      ],
    });
    assert.equal(await run(), 1);
    const good = await connect(`redis://valkey.example:${server.port}`);
    assert.equal(await good.run('return 1', [], []), 1);
    await good.close();
    const bad = await connect('redis://metadata.example:6379');
    await assert.rejects(bad.run('return 1', [], []), (error: Error) => {
      assert.match(error.message, /metadata service/);
      return isUnavailable(error);
    });
    await bad.close();
  });
});

test('a password file is read at every connection, and never quoted', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-lease-'));
  const server = await startFakeValkey();
  const passwordFile = join(folder, 'password');
  const lease = async (file: string) =>
    openLease(leaseSettings.parse({ kind: 'valkey', url: server.url, username: 'u', passwordFile: file }), {
      allowPrivate: [],
      warn: () => undefined,
    });
  await assert.rejects(lease(passwordFile), isError('failed_precondition', 'LEASE_FILE_INVALID'));
  await writeFile(passwordFile, 'two\nlines\n');
  await assert.rejects(lease(passwordFile), (error: Error) => {
    assert.ok(!inspect(error).includes('lines\n'));
    return isError('failed_precondition', 'LEASE_FILE_INVALID')(error);
  });
  await writeFile(passwordFile, 'first\n');
  const opened = await lease(passwordFile);
  t.after(async () => {
    await opened.close();
    await server.close();
    await rm(folder, { recursive: true });
  });
  const sent = () => server.seen.flat().filter(([name]) => name === 'AUTH');
  await eventually(() => assert.deepEqual(sent(), [['AUTH', 'u', 'first']]));
  await writeFile(passwordFile, 'second\n');
  server.answer(([name]) => (name === 'AUTH' ? '+OK' : 'end'));
  await assert.rejects(
    opened.hold('tag', within(10_000), async () => ({})),
    isUnavailable,
  );
  assert.deepEqual(sent()[1], ['AUTH', 'u', 'second']);
});

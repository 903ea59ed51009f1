// The harness itself: one table of peers, an absent one is named, processes start and stop.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import {
  absentPeers,
  installer,
  peerPath,
  peers,
  requirePeers,
  run,
  skipWithout,
  succeeded,
  temporaryFolder,
} from './peer.ts';
import { answers, startPeer } from './process.ts';

test('the table of the installer and that of the tests are one', () => {
  const listed = execFileSync(installer, ['--list'], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .map((line) => line.split(/\s+/));
  assert.deepEqual(
    listed.map(([name, version]) => [name, version]),
    peers.map(({ name, version }) => [name, version]),
  );
  const absent = listed.filter((columns) => columns[3] === 'absent').map(([name]) => name);
  assert.deepEqual(
    absent,
    absentPeers().map(({ name }) => name),
  );
});

test('an absent peer is named, with what is not checked and the command that installs it', async (t) => {
  for (const name of ['COUNTERSIGN_PEERS', 'CI', 'REQUIRE_PEERS']) {
    const saved = process.env[name];
    t.after(() => {
      if (saved === undefined) delete process.env[name];
      else process.env[name] = saved;
    });
    delete process.env[name];
  }
  process.env.COUNTERSIGN_PEERS = temporaryFolder('empty');
  assert.equal(peerPath('crane'), undefined);
  assert.ok(absentPeers().some(({ name }) => name === 'crane'));
  assert.throws(() => requirePeers('crane', 'vault'), /crane: .+\n {2}vault: .+\n.*test\/peers\/install crane vault$/);
  await assert.rejects(run('crane', ['version']), /test\/peers\/install crane$/);
  assert.match(String(skipWithout('crane')), /absent: crane/);
  process.env.CI = 'true';
  assert.equal(skipWithout('crane'), false);
});

describe('processes', () => {
  test('run gives what the program said, and its status', { skip: skipWithout('jq') }, async () => {
    assert.deepEqual(await run('jq', ['-c', '.a'], { input: '{"a":[1]}' }), { code: 0, stdout: '[1]\n', stderr: '' });
    const refused = await run('jq', ['.'], { input: '{' });
    assert.notEqual(refused.code, 0);
    assert.throws(() => succeeded(refused), /exit status/);
  });

  test('nothing of this machine reaches a peer', { skip: skipWithout('jq') }, async (t) => {
    process.env.VAULT_TOKEN = 'of-the-machine';
    t.after(() => delete process.env.VAULT_TOKEN);
    const seen = JSON.parse((await run('jq', ['-n', 'env'], { env: { ADDED: 'yes' } })).stdout) as Record<
      string,
      string
    >;
    assert.equal(seen.VAULT_TOKEN, undefined);
    assert.equal(seen.ADDED, 'yes');
    assert.notEqual(seen.HOME, process.env.HOME);
  });

  test('a program that does not end is an error, not an answer', { skip: skipWithout('ggcr-registry') }, async () => {
    await assert.rejects(run('ggcr-registry', [], { timeoutMs: 200 }), /did not end within 200 ms/);
  });

  test('a service that cannot start says why', { skip: skipWithout('docker-registry', 'ggcr-registry') }, async () => {
    const service = { args: () => ['serve', '/nonexistent.yml'], ready: () => Promise.resolve(false) };
    await assert.rejects(startPeer('docker-registry', service), /ended with status 1[\s\S]*nonexistent\.yml/);
    const never = {
      args: (port: number) => ['-addr', `127.0.0.1:${port}`],
      ready: () => Promise.resolve(false),
      timeoutMs: 300,
    };
    await assert.rejects(startPeer('ggcr-registry', never), /was not ready within 300 ms/);
  });

  for (const ending of ['returns', 'SIGTERM'] as const) {
    test(`a service does not outlive a test that forgets it (${ending})`, {
      skip: skipWithout('ggcr-registry'),
    }, async () => {
      const script = `
        import { startGgcrRegistry } from ${JSON.stringify(new URL('./registries.ts', import.meta.url).href)};
        const { url } = await startGgcrRegistry();
        console.log(url);
        ${ending === 'returns' ? '' : 'setInterval(() => {}, 1000);'}`;
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(child, 'exit');
      const [line] = (await once(child.stdout, 'data')) as [Buffer];
      const url = line.toString().trim();
      if (ending === 'SIGTERM') {
        assert.ok(await answers(`${url}/v2/`, 200));
        child.kill('SIGTERM');
      }
      assert.deepEqual(await ended, [ending === 'SIGTERM' ? 143 : 0, null]);
      assert.equal(await answers(`${url}/v2/`, 200), false);
    });
  }
});

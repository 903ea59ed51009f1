import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { signImage } from '../../src/cli/calls.ts';
import { keyPassword, type ServedWorldOptions, startServedWorld } from './served-world.ts';
import { mainPath } from './serve-process.ts';

const ways: readonly (readonly [string, ServedWorldOptions])[] = [
  ['KEY_PASSWORD', {}],
  [
    'KEY_PASSWORD_FILE',
    {
      env: async (folder) => {
        const file = join(folder, 'password');
        await writeFile(file, `${keyPassword}\n`);
        return { KEY_PASSWORD_FILE: file };
      },
    },
  ],
];
for (const [variable, options] of ways) {
  test(`the password of a key that only ${variable} brings opens the key and is seen nowhere`, async (t) => {
    const world = await startServedWorld(options);
    t.after(() => world.stop());
    await signImage(world.client(), { image: world.image, key: 'release' });
    assert.ok(world.process.child.kill('SIGTERM'));
    assert.equal(await world.process.ended, 0);
    const token = await world.token();
    for (const text of [
      await readFile(world.configFile, 'utf8'),
      world.process.log(),
      JSON.stringify(await world.audit()),
    ]) {
      assert.ok(!text.includes(keyPassword));
      assert.ok(!text.includes(token.split('.')[0] ?? ''));
    }
  });
}

test('a variable that is not set is named with its place, and nothing starts', async (t) => {
  const world = await startServedWorld();
  t.after(() => world.stop());
  for (const command of [
    ['serve', '--config', world.configFile],
    ['check-config', world.configFile],
  ]) {
    const failed = await promisify(execFile)(process.execPath, [mainPath, ...command], { env: {} }).then(
      () => assert.fail('it should not start'),
      (error: { readonly code: number; readonly stderr: string }) => error,
    );
    assert.equal(failed.code, 6);
    assert.match(
      failed.stderr,
      /config\.yaml:\d+:\d+: keys\[0\]\.password: the environment variable KEY_PASSWORD is not set/,
    );
  }
  const checked = await promisify(execFile)(process.execPath, [mainPath, 'check-config', world.configFile], {
    env: { KEY_PASSWORD: keyPassword },
  });
  assert.match(checked.stdout, /valid +.*config\.yaml/);
  assert.ok(!checked.stdout.includes(keyPassword));
});

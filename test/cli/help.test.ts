import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clientEntries } from '../../src/cli/entries.ts';
import { exitCodeMeanings } from '../../src/cli/exit-codes.ts';
import { capture } from './capture.ts';

for (const entry of clientEntries) {
  test(`${entry.name} --help shows its usage, every option and every exit code`, async () => {
    const { code, out, err } = await capture([...entry.name.split(' '), '--help']);
    assert.equal(code, 0);
    assert.equal(err, '');
    const command = await entry.load();
    assert.equal(command.name, entry.name);
    assert.equal(command.summary, entry.summary);
    assert.match(out, new RegExp(`^  countersign ${entry.name}( |$)`, 'm'));
    for (const option of command.options) {
      assert.ok(out.includes(`--${option.name}`), option.name);
      if (option.env !== undefined) assert.ok(out.includes(option.env), option.env);
    }
    for (const [exit, meaning] of exitCodeMeanings) {
      assert.match(out, new RegExp(`^  ${exit} +${meaning.slice(0, 20)}`, 'm'));
    }
    for (const line of out.split('\n').filter((text) => !text.startsWith('  countersign'))) {
      assert.ok(line.length <= 150, line);
    }
    assert.deepEqual(await capture(['help', ...entry.name.split(' ')]), { code, out, err });
  });
}

test('the overview names every command; no command at all is a usage error', async () => {
  const { code, out } = await capture(['--help']);
  assert.equal(code, 0);
  for (const entry of clientEntries) assert.ok(out.includes(`  ${entry.name} `), entry.name);
  assert.deepEqual(await capture(['help']), await capture(['--help']));
  const nothing = await capture([]);
  assert.equal(nothing.code, 2);
  assert.equal(nothing.out, '');
  assert.equal(nothing.err, out);
});

test('an unknown command gets the help and a suggestion', async () => {
  const { code, out, err } = await capture(['verfy']);
  assert.equal(code, 2);
  assert.equal(out, '');
  assert.match(err, /There is no command 'verfy'\. Did you mean verify\?/);
  assert.match(err, /Commands:/);
});

test('a group without its second word lists its commands', async () => {
  const { code, err } = await capture(['keys']);
  assert.equal(code, 2);
  assert.match(err, /keys list/);
  assert.doesNotMatch(err, /policy/);
  assert.match((await capture(['keys', 'gett'])).err, /no 'keys gett'\. Did you mean keys get\?/);
  assert.equal((await capture(['keys', '--help'])).code, 0);
});

test('a usage error is JSON on stdout when JSON was asked for', async () => {
  const { code, out, err } = await capture(['sign', 'image', '--output', 'json']);
  assert.equal(code, 2);
  assert.deepEqual(JSON.parse(out), {
    error: { code: 'usage', reason: 'USAGE', message: '--key is missing.', exitCode: 2 },
  });
  assert.match(err, /--key is missing/);
});

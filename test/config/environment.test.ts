import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { expandEnvironment } from '../../src/config/environment.ts';

const environment = { NAME: 'value', EMPTY: '', TRICKY: '${NAME}: [1, 2]' };
const expanded = (value: unknown, variables: Record<string, string> = environment) =>
  JSON.parse(JSON.stringify(expandEnvironment(value, variables).value)) as unknown;
const messages = (value: unknown, variables: Record<string, string> = environment) =>
  expandEnvironment(value, variables).mistakes.map(({ path, message }) => `${path.join('.')} ${message}`);

test('variables are put into texts, at any depth, and nowhere else', () => {
  assert.deepEqual(
    expanded({ a: ['${NAME}', 'x-${NAME}-${NAME}', 7, true, null], '${NAME}': { b: '$NAME {NAME} $' } }),
    { a: ['value', 'x-value-value', 7, true, null], '${NAME}': { b: '$NAME {NAME} $' } },
  );
  assert.equal(expanded('${TRICKY}'), '${NAME}: [1, 2]', 'not expanded again');
});

test('defaults stand in for what is unset or empty', () => {
  assert.equal(expanded('${NONE:-dflt}'), 'dflt');
  assert.equal(expanded('${NONE:-}'), '');
  assert.equal(expanded('${EMPTY:-dflt}'), 'dflt');
  assert.equal(expanded('${EMPTY}'), '');
  assert.equal(expanded('${NAME:-dflt}'), 'value');
  assert.equal(expanded('${NONE:-http://a:1/?b=c}'), 'http://a:1/?b=c');
});

test('$${ is a plain ${', () => {
  assert.equal(expanded('a $${NAME} b'), 'a ${NAME} b');
});

test('a missing variable is named with its place; all of them at once', () => {
  assert.deepEqual(messages({ a: '${NONE}', b: ['x ${OTHER} ${NONE}'] }), [
    'a the environment variable NONE is not set, nor is NONE_FILE',
    'b.0 the environment variable OTHER is not set, nor is OTHER_FILE',
    'b.0 the environment variable NONE is not set, nor is NONE_FILE',
  ]);
});

for (const text of ['${', '${NAME', '${}', '${1X}', '${A-b}', '${A B}', '${A:b}']) {
  test(`${text} is a mistake, not a guess`, () => assert.match(messages(text).join(), /no \$\{NAME\}/));
}

test('NAME_FILE: the content of a file, without its last newline', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'environment-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (content: string | Uint8Array): string => {
    writeFileSync(join(folder, 'secret'), content);
    return join(folder, 'secret');
  };
  assert.equal(expanded('${PW}', { PW_FILE: file('sesame\n') }), 'sesame');
  assert.equal(expanded('${PW}', { PW_FILE: file('two\n\n') }), 'two\n');
  assert.equal(expanded('${PW}', { PW_FILE: file('dos\r\n') }), 'dos');
  assert.equal(expanded('${PW}', { PW_FILE: file('') }), '');
  assert.equal(expanded('${PW:-dflt}', { PW_FILE: file('sesame') }), 'sesame');
  assert.match(messages('${PW}', { PW_FILE: file('sesame'), PW: 'x' }).join(), /PW and PW_FILE are both set/);
  assert.match(messages('${PW}', { PW_FILE: join(folder, 'none') }).join(), /PW_FILE names cannot be read \(ENOENT\)/);
  assert.match(messages('${PW}', { PW_FILE: file('s'.repeat(65_537)) }).join(), /over 65536 bytes/);
  assert.match(messages('${PW}', { PW_FILE: file(Buffer.from([0xff])) }).join(), /not UTF-8/);
});

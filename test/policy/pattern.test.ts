import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePattern, patternProblem } from '../../src/policy/pattern.ts';

const matches = (pattern: string, value: string): boolean => compilePattern(pattern).test(value);

test('literals and globs match the whole value, character by character', () => {
  const cases: [pattern: string, yes: string[], no: string[]][] = [
    [
      'refs/heads/main',
      ['refs/heads/main'],
      ['refs/heads/main2', 'xrefs/heads/main', 'refs/heads/MAIN', 'refs/heads/main\n', ''],
    ],
    ['refs/tags/*', ['refs/tags/v1', 'refs/tags/'], ['refs/tags', 'refs/tags/v1/x', 'xrefs/tags/v1']],
    ['refs/tags/v*.*', ['refs/tags/v1.2', 'refs/tags/v1.2.3', 'refs/tags/v.'], ['refs/tags/v1', 'refs/tags/v1.2/x']],
    [
      'ghcr.io/acme/**',
      ['ghcr.io/acme/', 'ghcr.io/acme/a', 'ghcr.io/acme/a/b'],
      ['ghcr.io/acme', 'ghcr.io/acme2/a', 'ghcrXio/acme/a'],
    ],
    ['ghcr.io/*/app', ['ghcr.io/acme/app', 'ghcr.io//app'], ['ghcr.io/a/b/app', 'ghcr.io/app']],
    ['**/app', ['/app', 'a/app', 'a/b/app'], ['app', 'a/app2']],
    ['**', ['', 'a', 'a/b', '\n'], []],
    ['*', ['', 'a'], ['/', 'a/b']],
    ['a**b*c', ['abc', 'a/x/b_c', 'abbc', 'ab/bc'], ['ab/c', 'abcd']],
    ['repo:acme/app:**', ['repo:acme/app:ref:refs/heads/a/b'], ['repo:acme/app2:x', 'repo:acme/app']],
    ['a.c', ['a.c'], ['abc']],
    ['(a+)+$', ['(a+)+$'], ['aaaa']],
    ['[ab]?', ['[ab]?'], ['a']],
    ['*/*', ['a/b', '/'], ['a', 'a/b/c']],
    ['a*a', ['aa', 'aba'], ['a', 'a/a']],
  ];
  for (const [pattern, yes, no] of cases) {
    for (const value of yes) assert.ok(matches(pattern, value), `${pattern} should match ${JSON.stringify(value)}`);
    for (const value of no) assert.ok(!matches(pattern, value), `${pattern} should not match ${JSON.stringify(value)}`);
  }
});

test('refuses patterns that say nothing or hide something', () => {
  for (const source of ['', ' a', 'a ', 'a\n', 'a\u0000b', '***', 'a****b', 'x'.repeat(513)]) {
    assert.ok(patternProblem(source) !== undefined, JSON.stringify(source));
    assert.throws(() => compilePattern(source), RangeError);
  }
});

test('the literal prefix is what every match begins with', () => {
  assert.deepEqual(
    ['abc', 'ab*c', '*', 'a**'].map((source) => compilePattern(source).literalPrefix),
    ['abc', 'ab', '', 'a'],
  );
});

test('no pattern takes long, whatever the value', () => {
  const value = `${'a'.repeat(4095)}!`;
  for (const source of [
    `${'a*'.repeat(255)}b`,
    `${'**a'.repeat(170)}b`,
    '**a*b'.repeat(100),
    '**a**a**a**a**a**a**a**a**b*',
  ]) {
    const pattern = compilePattern(source);
    const started = performance.now();
    pattern.test(value);
    pattern.test(value.slice(0, -1));
    assert.ok(performance.now() - started < 250, source.slice(0, 20));
  }
  assert.ok(!matches('a**', 'a'.repeat(4097)), 'longer values match no glob');
  assert.ok(matches('**', 'a'.repeat(4096)));
});

/** The meaning of a pattern, by its definition: slow, and obviously right. */
const specified = (pattern: string, value: string): boolean => {
  if (pattern === '') return value === '';
  if (pattern.startsWith('**')) {
    return Array.from({ length: value.length + 1 }, (_, taken) => taken).some((taken) =>
      specified(pattern.slice(2), value.slice(taken)),
    );
  }
  if (pattern.startsWith('*')) {
    return Array.from({ length: value.length + 1 }, (_, taken) => taken).some(
      (taken) => !value.slice(0, taken).includes('/') && specified(pattern.slice(1), value.slice(taken)),
    );
  }
  return value[0] === pattern[0] && specified(pattern.slice(1), value.slice(1));
};

test('agrees with the definition of a pattern on small alphabets', () => {
  const part = fc.constantFrom('a', 'b', '/', '*', '**', 'ab', 'a/');
  const pattern = fc
    .array(part, { minLength: 1, maxLength: 7 })
    .map((parts) => parts.join('').replace(/\*{3,}/g, '**'));
  const value = fc.array(fc.constantFrom('a', 'b', '/'), { maxLength: 9 }).map((parts) => parts.join(''));
  fc.assert(
    fc.property(pattern, value, (source, text) => {
      assert.equal(matches(source, text), specified(source, text), `${source} on ${text}`);
    }),
    { numRuns: 5000 },
  );
});

test('a literal matches itself and nothing else; a prefix glob matches exactly what begins so', () => {
  const text = fc
    .string({ minLength: 1, maxLength: 30 })
    .filter((value) => patternProblem(value) === undefined && !value.includes('*'));
  fc.assert(
    fc.property(text, fc.string({ maxLength: 30 }), (source, value) => {
      assert.ok(matches(source, source));
      assert.equal(matches(source, value), source === value);
      assert.equal(matches(`${source}**`, value), value.startsWith(source));
      assert.ok(matches(`${source}**`, source + value));
      assert.equal(matches(`${source}*`, source + value), !value.includes('/'));
    }),
  );
});

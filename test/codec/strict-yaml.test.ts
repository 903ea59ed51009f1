import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxYamlBytes, readStrictYaml } from '../../src/codec/strict-yaml.ts';
import { didYouMean, suggest } from '../../src/codec/suggest.ts';

const read = (text: string) => readStrictYaml(Buffer.from(text));
const mistakes = (text: string) =>
  read(text).mistakes.map(({ line, column, problem, fix }) => `${line}:${column} ${problem}; ${fix}`);

test('plain data, with the core schema of YAML 1.2', () => {
  const { value, mistakes } = read('a: 1\nb: [true, no, null, 1.5, "2", 0o10, ~]\nc:\n  d: |\n    text\n');
  assert.deepEqual(mistakes, []);
  assert.equal(JSON.stringify(value), '{"a":1,"b":[true,"no",null,1.5,"2",8,null],"c":{"d":"text\\n"}}');
  assert.equal(Object.getPrototypeOf(value), null, 'no key is inherited');
  assert.equal(read('').value, null);
});

const refused: [string, string, RegExp][] = [
  ['an anchor and its alias', 'a: &x 1\nb: *x', /^1:7 an anchor.*\n2:4 an alias/],
  ['an anchor on a key', '&x a: 1', /^1:\d an anchor/],
  ['a merge key', 'a:\n  <<: {b: 1}', /^2:3 a merge key/],
  ['a quoted merge key', '"<<": {b: 1}', /^1:1 a merge key/],
  ['a tag of its own', 'a: !env HOME', /a tag/],
  ['a standard tag', 'a: !!str 1', /^1:\d+ a tag/],
  ['a binary tag', 'a: !!binary aGk=', /^1:\d+ a tag/],
  ['a duplicate key', 'a: 1\nb: 2\na: 3', /^3:1 the key a is here twice/],
  ['a duplicate key in a flow mapping', '{a: 1, "a": 2}', /^1:8 the key a is here twice/],
  ['a key that is a number', '1: a', /^1:1 a key that is not a plain text/],
  ['a key that is a list', '? [a]\n: 1', /a key that is not a plain text/],
  ['__proto__', '__proto__: {a: 1}', /^1:1 the key "__proto__" is not allowed/],
  ['a second document', 'a: 1\n---\nb: 2', /^2:1 there is a second document/],
  ['a YAML directive', '%YAML 1.1\n---\na: yes', /^1:1 a directive/],
  ['a TAG directive', '%TAG ! tag:example.com,2000:\n---\na: 1', /^1:1 a directive/],
  ['broken syntax', 'a: [1, 2\nb: 3', /^\d+:\d+ not valid YAML/],
  ['a tab as indentation', 'a:\n\tb: 1', /^2:\d+ not valid YAML/],
];
for (const [name, text, expected] of refused) {
  test(`refused, with its place: ${name}`, () => {
    const yaml = read(text);
    assert.match(mistakes(text).join('\n'), expected);
    assert.equal(yaml.value, undefined);
  });
}

test('scalars as text: as they are written', () => {
  const { value } = readStrictYaml(Buffer.from('a: 0123\nb: true\nc: ~\nd: "x"\ne: [1.50]\n'), 'text');
  assert.equal(JSON.stringify(value), '{"a":"0123","b":"true","c":"~","d":"x","e":["1.50"]}');
});

test('all mistakes at once', () => {
  assert.equal(mistakes('a: &x 1\nb: *x\nb: 2\n1: !t y').length, 5);
});

test('bounds: size, depth, encoding', () => {
  assert.match(mistakes(`a: "${'x'.repeat(maxYamlBytes)}"`)[0] ?? '', /larger than 262144 bytes/);
  assert.deepEqual(mistakes(`a: "${'x'.repeat(maxYamlBytes - 6)}"`), []);
  assert.match(readStrictYaml(Buffer.from([0x61, 0x3a, 0x20, 0xff])).mistakes[0]?.problem ?? '', /not UTF-8/);
  assert.match(mistakes(`${'['.repeat(66)}${']'.repeat(66)}`)[0] ?? '', /nested more than 64 levels/);
  assert.deepEqual(mistakes(`${'['.repeat(60)}${']'.repeat(60)}`), []);
});

for (const [name, text] of [
  ['open brackets', '['.repeat(maxYamlBytes)],
  ['braces', '{a: '.repeat(60_000)],
  ['indentation', Array.from({ length: 600 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ['keys', Array.from({ length: 30_000 }, (_, index) => `k${index}: 1`).join('\n')],
  ['dashes', '- '.repeat(100_000)],
  ['aliases', `a: &a [x]\n${'b: [*a,*a,*a]\n'.repeat(10_000)}`],
] as const) {
  test(`a bomb made of ${name} costs at most in proportion to its length`, () => {
    /** CPU of this process, which other processes do not lengthen: milliseconds. */
    const cost = (part: string): number => {
      const before = process.cpuUsage();
      readStrictYaml(Buffer.from(part));
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    const half = cost(text.slice(0, text.length / 2));
    const whole = cost(text);
    assert.ok(whole < 4 * half + 100, `${whole} ms, the half of it ${half} ms`);
  });
}

test('locate finds keys and items; for something absent, what would hold it', () => {
  const yaml = read('a:\n  - b: 1\n  - c:\n      d: 2\ne: {f: 3}\n');
  assert.deepEqual(yaml.locate(['a', 1, 'c', 'd']), { line: 4, column: 7 });
  assert.deepEqual(yaml.locate(['a', 0]), { line: 2, column: 5 });
  assert.deepEqual(yaml.locate(['a', 1, 'x']), { line: 3, column: 5 });
  assert.deepEqual(yaml.locate(['e', 'f']), { line: 5, column: 5 });
  assert.deepEqual(yaml.locate([]), { line: 1, column: 1 });
  assert.deepEqual(yaml.locate(['nope']), { line: 1, column: 1 });
});

test('suggestions: near words, nothing for far ones', () => {
  assert.equal(suggest('listners', ['keys', 'listeners']), 'listeners');
  assert.equal(suggest('VAULT', ['local', 'vault']), 'vault');
  assert.equal(suggest('zzz', ['keys', 'listeners']), undefined);
  assert.equal(suggest('a', ['b']), undefined);
  assert.equal(didYouMean('polcy', ['policy']), '; did you mean policy?');
  assert.equal(didYouMean('zzz', ['policy']), '');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseAddress, parseTimeout } from '../../src/cli/address.ts';
import { type Option, UsageError } from '../../src/cli/command.ts';
import { parseInput } from '../../src/cli/parse.ts';
import { suggest } from '../../src/codec/suggest.ts';

const options: readonly Option[] = [
  { name: 'key', type: 'text', help: '' },
  { name: 'annotation', short: 'a', type: 'list', help: '' },
  { name: 'plaintext', type: 'flag', help: '', env: 'PLAIN' },
  { name: 'output', type: 'text', help: '', choices: ['text', 'json'], default: 'text', env: 'OUTPUT' },
];
const parse = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  parseInput({ options }, args, env);
const complaint = (args: readonly string[], env: Readonly<Record<string, string>> = {}): string => {
  try {
    parse(args, env);
  } catch (caught) {
    assert.ok(caught instanceof UsageError, String(caught));
    return caught.message;
  }
  return assert.fail('nothing was refused');
};

test('options, lists, flags and positionals are read in any order', () => {
  const input = parse(['image', '-a', 'x=1', '--key=k', '--annotation', 'y=2=3', '--plaintext']);
  assert.deepEqual(input.positionals, ['image']);
  assert.equal(input.text('key'), 'k');
  assert.deepEqual(input.list('annotation'), ['x=1', 'y=2=3']);
  assert.equal(input.flag('plaintext'), true);
  assert.deepEqual(parse(['--', '--key']).positionals, ['--key']);
});

test('the command line goes before the environment, the environment before the default', () => {
  assert.equal(parse([]).text('output'), 'text');
  assert.equal(parse([], { OUTPUT: 'json' }).text('output'), 'json');
  assert.equal(parse(['--output', 'text'], { OUTPUT: 'json' }).text('output'), 'text');
  assert.equal(parse([], { OUTPUT: '' }).text('output'), 'text');
  assert.equal(parse([], { PLAIN: 'true' }).flag('plaintext'), true);
  assert.equal(parse([], { PLAIN: '0' }).flag('plaintext'), false);
});

test('what is wrong is said with what to write instead', () => {
  assert.match(complaint(['--kee', 'k']), /no option --kee\. Did you mean --key\?/);
  assert.match(complaint(['--key', 'a', '--key', 'b']), /--key may be given only once/);
  assert.match(complaint(['--output', 'jsn']), /one of text, json\. Did you mean json\?/);
  assert.match(complaint([], { OUTPUT: 'xml' }), /one of text, json/);
  assert.match(complaint([], { PLAIN: 'perhaps' }), /PLAIN must be true or false/);
  assert.match(complaint(['--key']), /--key/);
});

test('an address says whether it is TLS and whether it stays on this machine', () => {
  const cases: readonly (readonly [string, boolean, string, boolean, boolean])[] = [
    ['grpcs://sign.example:443', false, 'sign.example:443', true, false],
    ['https://sign.example:443', false, 'sign.example:443', true, false],
    ['grpc://127.0.0.1:80', false, '127.0.0.1:80', false, true],
    ['http://localhost:7443/', false, 'localhost:7443', false, true],
    ['sign.example:7443', false, 'sign.example:7443', true, false],
    ['[::1]:7443', true, '[::1]:7443', false, true],
  ];
  for (const [text, plaintext, authority, tls, loopback] of cases) {
    assert.deepEqual(parseAddress(text, plaintext), { authority, tls, loopback }, text);
  }
  for (const text of ['', 'sign.example', 'ftp://h:1', 'grpc://h:1/path', 'grpc://user@h:1', 'grpc://h:99999']) {
    assert.throws(() => parseAddress(text, false), UsageError, text);
  }
  assert.throws(() => parseAddress('grpcs://h:1', true), UsageError);
});

test('a timeout has a unit and a limit', () => {
  assert.equal(parseTimeout('500ms'), 500);
  assert.equal(parseTimeout('30'), 30_000);
  assert.equal(parseTimeout('30s'), 30_000);
  assert.equal(parseTimeout('2m'), 120_000);
  for (const text of ['', '0', '-1', '1h', '99999999m', '1.5s'])
    assert.throws(() => parseTimeout(text), UsageError, text);
});

test('only near words are suggested', () => {
  const commands = ['sign', 'attest', 'verify', 'keys'];
  assert.equal(suggest('sing', commands), 'sign');
  assert.equal(suggest('atest', commands), 'attest');
  assert.equal(suggest('frobnicate', commands), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findJsonFault } from '../../src/codec/json-fault.ts';
import { type JsonLimits, parseStrictJson } from '../../src/codec/strict-json.ts';
import { CountersignError } from '../../src/model/error.ts';

const parse = (text: string, limits?: JsonLimits): unknown => parseStrictJson(Buffer.from(text), limits);

const refusal = (input: string | Uint8Array, limits?: JsonLimits): CountersignError => {
  try {
    const value = parseStrictJson(typeof input === 'string' ? Buffer.from(input) : input, limits);
    return assert.fail(`accepted as ${JSON.stringify(value)}`);
  } catch (error) {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(error.code, 'invalid_argument');
    assert.equal(error.reason, 'MALFORMED_JSON');
    return error;
  }
};

/** Texts that every JSON parser must accept (the shapes of the well-known "y_" cases). */
// biome-ignore format: a table
const accepted = [
  '[[]   ]', '[""]', '[]', '["a"]', '[false]', '[null, 1, "1", {}]', '[null]', '[1\n]', ' [1]',
  '[1,null,null,null,2]', '[2] ', '[123e65]', '[0e+1]', '[0e1]', '[ 4]',
  '[-0.000000000000000000000000000000000000000000000000000000000000000000000000000001]', '[20e1]', '[-0]', '[-123]',
  '[-1]', '[1E22]', '[1E-2]', '[1E+2]', '[123e45]', '[123.456e78]', '[1e-2]', '[1e+2]', '[123]', '[123.456789]',
  '{"asd":"sdf", "dfg":"fgh"}', '{"asd":"sdf"}', '{}', '{"":0}', '{"foo\\u0000bar": 42}',
  '{ "min": -1.0e+28, "max": 1.0e+28 }', '{"x":[{"id": "xxxxxxxxxxxxxxxx"}], "id": "xxxxxxxxxxxxxxxx"}', '{"a":[]}',
  '{"title":"\\u041f\\u043e\\u043b\\u0442\\u043e\\u0440\\u0430"}', '{\n"a": "b"\n}', '["\\u0060\\u012a\\u12AB"]',
  '["\\uD801\\udc37"]', '["\\ud83d\\ude39\\ud83d\\udc8d"]', '["\\"\\\\\\/\\b\\f\\n\\r\\t"]', '["\\\\u0000"]',
  '["\\""]', '["a/*b*/c/*d//e"]', '["\\\\a"]', '["\\\\n"]', '["\\u0012"]', '["\\uFFFF"]', '["asd"]', '[ "asd"]',
  '["\\uDBFF\\uDFFF"]', '["new\\u00A0line"]', '["\u{10ffff}"]', '["\uffff"]', '["\\u0000"]', '["\\u002c"]', '["π"]',
  '["\u{1bfff}"]', '["asd "]', '" "', '["\\uD834\\uDd1e"]', '["\\u0821"]', '["\\u0123"]', '["\u2028"]', '["\u2029"]',
  '["\\u0061\\u30af\\u30EA\\u30b9"]', '["new\\u000Aline"]', '["\u007f"]', '["\\uA66D"]', '["\\u005C"]', '["⍂㈴⍂"]',
  '["\\u200B"]', '["\\u2064"]', '["\\uFDD0"]', '["\\uFFFE"]', '["\\u0022"]', '["€𝄞"]', '["a\u007fa"]', 'false', '42',
  '-0.1', 'null', '"asd"', 'true', '""', '["a"]\n', '[true]', ' [] ', '{"a":":"}', '{":":"\\":"}',
  '{"a":{"a":{"a":1}}}', '[{"a":1},{"a":2}]', '{"constructor":1,"toString":2}',
];

/** Texts that every JSON parser must refuse (the shapes of the well-known "n_" cases). */
// biome-ignore format: a table
const refused = [
  '[1 true]', '["": 1]', '[""],', '[,1]', '[1,,2]', '["x",,]', '["x"]]', '["",]', '["x"', '[x', '[3[4]]', '[1:2]',
  '[,]', '[-]', '[   , ""]', '["a",\n4\n,1,', '[1,]', '[1,,]', '["\va"\\f]', '[*]', '[""', '[1,', '[1,\n1\n,1', '[{}',
  '[fals]', '[nul]', '[tru]', '123\u0000', '[++1234]', '[+1]', '[+Inf]', '[-01]', '[-1.0.]', '[-2.]', '[-NaN]',
  '[.-1]', '[.2e-3]', '[0.1.2]', '[0.3e+]', '[0.3e]', '[0.e1]', '[0E+]', '[0E]', '[0e+]', '[0e]', '[1.0e+]',
  '[1.0e-]', '[1.0e]', '[1 000.0]', '[1eE2]', '[2.e+3]', '[2.e-3]', '[2.e3]', '[9.e+]', '[Inf]', '[NaN]', '[１]',
  '[1+2]', '[0x1]', '[0x42]', '[Infinity]', '[0e+-1]', '[-123.123foo]', '[-Infinity]', '[-foo]', '[- 1]', '[-012]',
  '[-.123]', '[-1x]', '[1ea]', '[1.]', '[.123]', '[1.2a-3]', '[1.8011670033376514H-308]', '[012]', '["x", truth]',
  '{[: "x"}', '{"x", null}', '{"x"::"b"}', '{"a":"a" 123}', "{key: 'value'}", '{"a" b}', '{:"b"}', '{"a" "b"}',
  '{"a":', '{"a"', '{1:1}', '{9999E9999:1}', '{null:null,null:null}', '{"id":0,,,,,}', "{'a':0}", '{"id":0,}',
  '{"a":"b"}/**/', '{"a":"b"}/**//', '{"a":"b"}//', '{"a":"b"}/', '{"a":"b",,"c":"d"}', '{a: "b"}', '{"a":"a',
  '{ "foo" : "bar", "a" }', '{"a":"b"}#', ' ', '["\\uD800\\"]', '["\\uD800\\u"]', '["\\uD800\\u1"]',
  '["\\uD800\\u1x"]', '[é]', '["\\\u0000"]', '["\\x00"]', '["\\\\\\"]', '["\\\t"]', '["\\🌀"]', '["\\"]', '["\\u00A"]',
  '["\\uD834\\uDd"]', '["\\uD800\\uD800\\x"]', '["\\a"]', '["\\uqqqq"]', '[\\u0020"asd"]', '[\\n]', '"',
  "['single quote']", 'abc', '["\\', '["a\u0000a"]', '["new\nline"]', '["\t"]', '"\\UA66D"', '""x', '[\u2060]', '<.>',
  '[<null>]', '[1]x', '[1]]', '["asd]', 'aå', '[True]', '1]', '{"x": true,', '[][]', ']', '{"', '[}', '{]', '{}}',
  '{"":', '{"a":/*comment*/"b"}', '{"a": true} "x"', "['", '[,', '{,', "{'", '{"', '{"a', '{"a"', '["a',
  '["\\{["\\{["\\{["\\{', 'é', '*', '{"a":"b"}#{}', '[\\u000A""]', '[1', '[ false, nul', '[ true, fals',
  '[ false, tru', '{"asd":"asd"', '\u00e5', '[\u2060]', '[\f]', '\ufeff', '\ufeff{}', 'undefined', '01', '1 2', '',
  '//x\n1', '{"a":1;"b":2}', '[1;2]', '`a`', '{"a":undefined}', '[0_1]', '1_000', '0b1', '0o7', '.5', '5.', '+5',
  '--5', '1e', 'nulll', 'truefalse', '{"a":1}{"a":1}', '[1]\u00a0', '[1]\u2003', '"\u001f"', '"\\u{41}"', '"\\101"',
  '{"a":1,"b"}', '[{"a":1]}', '({})', '{"a":+1}', '{"a":.1}', '{"a":\'b\'}', '{"a"="b"}', 'NaN', '-', '-a',
];

test('accepts what RFC 8259 and I-JSON accept, with the value of JSON.parse', () => {
  assert.ok(accepted.length >= 95, `${accepted.length} cases`);
  for (const text of accepted) assert.deepEqual(parse(text), JSON.parse(text), text);
});

test('refuses what RFC 8259 refuses', () => {
  assert.ok(new Set(refused).size >= 188, `${new Set(refused).size} cases`);
  for (const text of refused) {
    assert.throws(() => JSON.parse(text), `not a bad text: ${text}`);
    const error = refusal(text);
    assert.match(error.message, /^Not valid JSON: /);
  }
});

test('refuses bytes that are not UTF-8 without a byte order mark', () => {
  const bad = [
    [0xff],
    [0x22, 0xff, 0x22],
    [0x22, 0xc0, 0x80, 0x22],
    [0x22, 0xed, 0xa0, 0x80, 0x22],
    [0x22, 0xe2, 0x82, 0x22],
  ];
  bad.push(
    [0x22, 0xf4, 0xbf, 0xbf, 0xbf, 0x22],
    [0x22, 0x80, 0x22],
    [0xfe, 0xff, 0x00, 0x31],
    [0x31, 0x00],
    [0xef, 0xbb, 0xbf, 0x31],
  );
  for (const bytes of bad) refusal(Uint8Array.from(bytes));
});

test('refuses duplicate keys wherever they are and however they are spelt, naming the place', () => {
  const error = refusal('{\n  "iss": "a",\n  "iss": "b"\n}');
  assert.match(error.message, /twice in one object.*line 3, column 3/);
  assert.deepEqual(error.metadata, { line: '3', column: '3' });
  for (const text of [
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":2}',
    '[[{"x":{"y":1,"y":2}}]]',
    '{"":1,"":2}',
    '{"1":1,"1":2}',
    '{"a":{},"b":1,"a":{}}',
    '{"a":":","a":"\\":"}',
    '{"é":1,"\\u00e9":2}',
    '{"toString":1,"toString":2}',
  ]) {
    assert.match(refusal(text).message, /twice/, text);
  }
});

test('never lets a key reach a prototype', () => {
  for (const text of ['{"__proto__":{"admin":true}}', '[{"a":{"__proto__":1}}]', '{"\\u005f_proto__":null}']) {
    assert.match(refusal(text).message, /__proto__/);
  }
  assert.equal(({} as Record<string, unknown>).admin, undefined);
});

test('bounds bytes, depth and keys before they cost anything', () => {
  refusal('[1,2,3]', { maxBytes: 6 });
  assert.deepEqual(parse('[1,2,3]', { maxBytes: 7 }), [1, 2, 3]);
  refusal(`${'['.repeat(65)}${']'.repeat(65)}`);
  parse(`${'['.repeat(64)}${']'.repeat(64)}`);
  refusal('['.repeat(200_000));
  refusal('{"a":'.repeat(100_000));
  refusal('[[1]]', { maxDepth: 1 });
  parse(`["${'['.repeat(500)}"]`);
  const object = (keys: number) =>
    JSON.stringify(Object.fromEntries(Array.from({ length: keys }, (_, i) => [`k${i}`, i])));
  parse(object(10_000));
  assert.match(refusal(object(10_001)).message, /10000 keys/);
  refusal(' '.repeat(1024 * 1024 + 1));
});

test('refuses lone surrogates and numbers that no double holds', () => {
  for (const text of ['["\\uD800"]', '["\\uDFAA"]', '{"\\uDFAA":0}', '["\\ud800abc"]', '["\\uDd1e\\uD834"]'])
    refusal(text);
  for (const text of ['[1e400]', '-1e999', '{"a":123456e1000}']) refusal(text);
});

test('refuses unsafe integers only when asked', () => {
  const strict = { rejectUnsafeIntegers: true };
  for (const text of ['9007199254740993', '[-9007199254740992]', '{"a":18446744073709551615}', '1e20']) {
    parse(text);
    refusal(text, strict);
  }
  assert.equal(parse('9007199254740991', strict), Number.MAX_SAFE_INTEGER);
  assert.equal(parse('1.5e-3', strict), 0.0015);
});

test('an error never repeats the input', () => {
  assert.doesNotMatch(refusal('{"token":"s3cret" x}').message, /s3cret|token/);
  assert.doesNotMatch(refusal('{"s3cret":1,"s3cret":2}').message, /s3cret/);
});

test('reads a view into a larger buffer', () => {
  const whole = Buffer.from('xx{"a":1}yy');
  assert.deepEqual(parseStrictJson(whole.subarray(2, 9)), { a: 1 });
});

test('round trip: whatever JSON.stringify writes is read back', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' }), fc.constantFrom(0, 2), (value, indent) => {
      const text = JSON.stringify(value, undefined, indent);
      fc.pre(!text.includes('"__proto__"'));
      assert.deepEqual(parse(text), JSON.parse(text));
    }),
  );
});

test('agrees with JSON.parse on mutated texts, and always knows the place of a fault', () => {
  const mutation = fc.record({
    at: fc.nat(),
    remove: fc.nat(3),
    insert: fc.constantFrom('', '"', '{', '}', ',', ':', '\\', '0', '-', 'e', ' ', '\n', '\t', 'é'),
  });
  fc.assert(
    fc.property(fc.constantFrom(...accepted), mutation, (text, { at, remove, insert }) => {
      const place = at % (text.length + 1);
      const mutated = (text.slice(0, place) + insert + text.slice(place + remove)).toWellFormed();
      let parses = true;
      try {
        JSON.parse(mutated);
      } catch {
        parses = false;
      }
      const fault = findJsonFault(mutated);
      if (!parses) assert.ok(fault !== undefined && fault.position <= mutated.length, mutated);
      else assert.ok(fault === undefined || /twice/.test(fault.problem), mutated);
      if (!parses || fault !== undefined) refusal(mutated);
    }),
    { numRuns: 2000 },
  );
});

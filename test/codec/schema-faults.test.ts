import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { checkSchema } from '../../src/codec/schema-faults.ts';

const schema = z.strictObject({
  name: z.string().min(2).max(4),
  count: z.int().min(1).max(9).default(3),
  level: z.enum(['info', 'warn']).optional(),
  list: z.array(z.string()).max(1).optional(),
  kind: z
    .discriminatedUnion('type', [
      z.strictObject({ type: z.literal('a'), x: z.string() }),
      z.strictObject({ type: z.literal('b') }),
    ])
    .optional(),
  either: z.union([z.string(), z.strictObject({ file: z.string() })]).optional(),
  named: z.record(z.string().regex(/^[a-z]+$/, 'must be lower case'), z.number()).optional(),
});

const faults = (data: unknown): string[] =>
  checkSchema(schema, data).faults.map(({ path, message }) => `${path.join('.')} ${message}`);

test('what fits comes back with defaults', () => {
  assert.deepEqual(checkSchema(schema, { name: 'abc' }), { value: { name: 'abc', count: 3 }, faults: [] });
});

const cases: [unknown, string[]][] = [
  [{}, ['name is missing']],
  [null, [' must be a mapping, not nothing']],
  [{ name: 7 }, ['name must be text, not a number']],
  [{ name: 'a' }, ['name must have at least 2 characters']],
  [{ name: 'abcde' }, ['name must have at most 4 characters']],
  [{ name: 'abc', count: 0 }, ['count must be at least 1']],
  [{ name: 'abc', count: 10 }, ['count must be at most 9']],
  [{ name: 'abc', count: 1.5 }, ['count must be a whole number, not a number']],
  [{ name: 'abc', count: '3' }, ['count must be a number, not text']],
  [{ name: 'abc', level: 'inof' }, ['level must be one of info, warn; did you mean info?']],
  [{ name: 'abc', list: 'x' }, ['list must be a list, not text']],
  [{ name: 'abc', list: ['x', 'y'] }, ['list must have at most 1 entries']],
  [{ name: 'abc', list: [1] }, ['list.0 must be text, not a number']],
  [
    { nam: 'abc', zzzz: 1 },
    ['name is missing', 'nam is not a known setting; did you mean name?', 'zzzz is not a known setting'],
  ],
  [{ name: 'abc', kind: { type: 'c' } }, ['kind.type must be one of a, b']],
  [{ name: 'abc', kind: {} }, ['kind.type must be one of a, b']],
  [{ name: 'abc', kind: { type: 'a', y: 1 } }, ['kind.x is missing', 'kind.y is not a known setting']],
  [
    { name: 'abc', either: { fil: 'x' } },
    ['either.file is missing', 'either.fil is not a known setting; did you mean file?'],
  ],
  [{ name: 'abc', either: 7 }, ['either must be text, not a number']],
  [{ name: 'abc', named: { A: 1 } }, ['named.A this name must be lower case']],
];
for (const [data, expected] of cases) {
  test(`faults of ${JSON.stringify(data)}`, () => assert.deepEqual(faults(data), expected));
}

test('no message quotes a value', () => {
  const secret = 'sesame';
  for (const data of [
    { name: secret },
    { name: 'abc', level: secret },
    { name: 'abc', kind: { type: secret } },
    secret,
  ]) {
    const found = faults(data);
    assert.ok(found.length > 0);
    assert.ok(!found.join().includes(secret), found.join());
  }
});

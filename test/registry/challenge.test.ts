import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenges } from '../../src/registry/challenge.ts';

const parsed = (header: string) =>
  parseChallenges(header)?.map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test('well-formed challenges are taken apart', () => {
  assert.deepEqual(parsed('Basic realm="registry"'), [['basic', { realm: 'registry' }]]);
  assert.deepEqual(
    parsed('Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"'),
    [
      [
        'bearer',
        { realm: 'https://auth.example/token', service: 'registry.example', scope: 'repository:a/b:pull,push' },
      ],
    ],
  );
  assert.deepEqual(parsed('Negotiate, Basic realm="a", BEARER Realm = "b" , service=c'), [
    ['negotiate', {}],
    ['basic', { realm: 'a' }],
    ['bearer', { realm: 'b', service: 'c' }],
  ]);
  assert.deepEqual(parsed('Negotiate dG9rZW4=, Basic realm=a'), [
    ['negotiate', {}],
    ['basic', { realm: 'a' }],
  ]);
  assert.deepEqual(parsed('Basic realm="a \\"quoted\\" one, with a comma"'), [
    ['basic', { realm: 'a "quoted" one, with a comma' }],
  ]);
  assert.deepEqual(parsed('Basic'), [['basic', {}]]);
  assert.deepEqual(parsed(''), []);
});

test('malformed challenges are refused whole', () => {
  for (const header of [
    'Bearer realm="unterminated',
    'Bearer realm="a" service="b"',
    'Bearer realm="a",realm="b"',
    'Bearer realm="a\u0007b"',
    'Bearer="a"',
    '"Bearer" realm="a"',
    '=a',
    'Bearer realm="a";service="b"',
    `Bearer realm="${'a'.repeat(9_000)}"`,
  ]) {
    assert.equal(parseChallenges(header), undefined, header.slice(0, 60));
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { registrySettings } from '../../src/registry/settings.ts';

const valkey = { kind: 'valkey', url: 'rediss://valkey.example:6379' };

const faults = (lease: object, more: object = {}): string[] => {
  const { success, error } = registrySettings.safeParse({ lease: { ...valkey, ...lease }, ...more });
  return success ? [] : error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
};

test('an address is enough; the lease outlasts three settling times, and is waited for longer than it lasts', () => {
  const { lease, settleMs } = registrySettings.parse({ lease: valkey });
  assert.deepEqual(lease, {
    ...valkey,
    plainText: false,
    keyPrefix: 'countersign:lease:',
    durationMs: 15_000,
    waitMs: 20_000,
  });
  assert.ok(lease.durationMs >= 3 * settleMs && lease.waitMs > lease.durationMs);
});

describe('addresses', () => {
  for (const url of [
    'rediss://valkey.example',
    'rediss://10.0.0.1:6380/3',
    'redis://127.0.0.1:6379',
    'redis://localhost',
    'redis://[::1]:6379/',
  ]) {
    test(`${url} is one`, () => assert.deepEqual(faults({ url }), []));
  }
  for (const url of [
    'valkey.example:6379',
    'https://valkey.example',
    'rediss://user:secret@valkey.example',
    'rediss://:secret@valkey.example',
    'rediss://valkey.example/?db=1',
    'rediss://valkey.example/one',
    'rediss:///0',
    'unix:/run/valkey.sock',
    'redis://valkey.example:6379',
    'redis://127.0.0.1.example',
  ]) {
    test(`${url} is none, and is not quoted`, () => {
      const [fault, ...more] = faults({ url });
      assert.match(fault ?? '', /^lease\.url: must /);
      assert.deepEqual(more, []);
      assert.ok(!fault?.includes('secret'));
    });
  }
  test('plain text to another host, when it is said in words', () => {
    assert.deepEqual(faults({ url: 'redis://valkey.example:6379', plainText: true }), []);
  });
});

describe('what does not fit together', () => {
  const cases: readonly (readonly [string, object, object, RegExp])[] = [
    ['two passwords', { password: 'a', passwordFile: 'b' }, {}, /^lease\.passwordFile: /],
    ['a user without a password', { username: 'a' }, {}, /^lease\.username: /],
    ['a CA for plain text', { url: 'redis://127.0.0.1', caFile: 'ca.crt' }, {}, /^lease\.caFile: /],
    ['a lease that ends before a late write does', { durationMs: 2_000 }, {}, /^lease\.durationMs: .*\(3000\)/],
    ['no settling time', {}, { settleMs: 0 }, /^settleMs: must not be 0/],
    ['a prefix with braces', { keyPrefix: 'a{b}' }, {}, /^lease\.keyPrefix: /],
    ['a setting that there is not', { sentinel: true }, {}, /sentinel/],
  ];
  for (const [name, lease, more, expected] of cases) {
    test(name, () => {
      const [fault, ...others] = faults(lease, more);
      assert.match(fault ?? '', expected);
      assert.deepEqual(others, []);
    });
  }
});

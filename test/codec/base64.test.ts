import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeBase64, decodeBase64Url, encodeBase64 } from '../../src/codec/base64.ts';

test('bytes of every length come back', () => {
  for (let length = 0; length < 200; length++) {
    const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 89 + length) % 256));
    assert.deepEqual(decodeBase64(encodeBase64(bytes)), bytes);
    assert.deepEqual(decodeBase64Url(bytes.toString('base64url')), bytes);
  }
});

test('only the one canonical spelling is read', () => {
  for (const text of [
    'YQ',
    'YQ=',
    'YR==',
    'YQ==\n',
    ' YQ==',
    'YQ==YQ==',
    'Y Q==',
    '====',
    '=',
    'Y===',
    '_-==',
    'YWJj=',
    'ÿÿÿÿ',
    'ŁŁŁŁ',
  ]) {
    assert.equal(decodeBase64(text), undefined, JSON.stringify(text));
  }
  for (const text of ['YQ==', 'YR', 'YQ\n', ' YQ', 'Y', '+/', 'Y.Q', 'ŁŁ']) {
    assert.equal(decodeBase64Url(text), undefined, JSON.stringify(text));
  }
});

test('sixteen MiB are read, and refused, without overflowing any stack', () => {
  const bytes = Buffer.alloc(12 * 1024 * 1024, 1);
  const text = encodeBase64(bytes);
  assert.ok(decodeBase64(text)?.equals(bytes));
  assert.equal(decodeBase64(`${text}!`), undefined);
  assert.equal(decodeBase64(`${text.slice(0, -1)}!`), undefined);
});

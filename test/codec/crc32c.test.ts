import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32c } from '../../src/codec/crc32c.ts';

// RFC 3720 section B.4, and the check value of the catalogue of CRC algorithms (CRC-32/ISCSI).
const vectors: readonly (readonly [string, Uint8Array, number])[] = [
  ['nothing', Buffer.alloc(0), 0],
  ['123456789', Buffer.from('123456789'), 0xe3069283],
  ['32 zeroes', Buffer.alloc(32), 0x8a9136aa],
  ['32 ones', Buffer.alloc(32, 0xff), 0x62a8ab43],
  ['0 up to 31', Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
  ['31 down to 0', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
];

for (const [what, bytes, expected] of vectors) {
  test(`CRC-32C of ${what}`, () => assert.equal(crc32c(bytes), expected));
}

test('one changed bit changes it', () => {
  const bytes = Buffer.from('a signature');
  const before = crc32c(bytes);
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.notEqual(crc32c(changed), before);
  }
});

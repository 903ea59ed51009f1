import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { derTag, readDer, readUnsigned, writeDer, writeUnsigned } from '../../src/codec/der.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

test('reads a nested element', () => {
  const read = readDer(hex('30 06 02 01 05 04 01 09'));
  assert.equal(read?.tag, derTag.sequence);
  assert.deepEqual(
    read?.children.map((child) => [child.tag, ...child.content]),
    [
      [0x02, 5],
      [0x04, 9],
    ],
  );
});

const refused = {
  'nothing at all': '',
  'a lone tag': '30',
  'an indefinite length': '30 80 02 01 05 00 00',
  'a long length where the short form fits': '30 81 03 02 01 05',
  'a length with a leading zero': `04 82 00 80${' 00'.repeat(128)}`,
  'a length of five octets': '04 85 00 00 00 00 01 00',
  'content shorter than its length': '02 02 05',
  'something after the element': '02 01 05 00',
  'a child longer than its parent': '30 03 02 02 05 05',
  'a multi-byte tag': '1f 81 01 00',
  'end-of-contents': '00 00',
  'a reserved length': '04 ff 00',
} as const;
for (const [what, bytes] of Object.entries(refused)) {
  test(`refuses ${what}`, () => assert.equal(readDer(hex(bytes)), undefined));
}

test('bounds size, depth and count', () => {
  const deep = (levels: number): Buffer =>
    Array.from({ length: levels }).reduce<Buffer>((inner) => writeDer(0x30, inner), Buffer.alloc(0));
  assert.equal(readDer(deep(16)) === undefined, false);
  assert.equal(readDer(deep(17)), undefined);
  assert.equal(readDer(deep(5000)), undefined);
  const many = writeDer(0x30, ...Array.from({ length: 1023 }, () => hex('05 00')));
  assert.equal(readDer(many)?.children.length, 1023);
  assert.equal(readDer(writeDer(0x30, many)), undefined);
  assert.equal(readDer(writeDer(0x04, Buffer.alloc(70_000))), undefined);
  assert.equal(readDer(writeDer(0x04, Buffer.alloc(70_000)), { maxBytes: 80_000 })?.content.length, 70_000);
});

test('integers: only the shortest non-negative form', () => {
  const read = (bytes: string) => readUnsigned(readDer(hex(bytes)));
  assert.deepEqual([...(read('02 01 00') ?? [])], [0]);
  assert.deepEqual([...(read('02 02 00 80') ?? [])], [0x80]);
  for (const bad of ['02 00', '02 01 80', '02 02 00 7f', '02 03 00 00 80', '04 01 05']) {
    assert.equal(read(bad), undefined, bad);
  }
});

test('what is written reads back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (magnitude) => {
      const value = Buffer.from(magnitude)
        .toString('hex')
        .replace(/^(00)+/, '');
      const read = readUnsigned(readDer(writeDer(0x30, writeUnsigned(magnitude)))?.children[0]);
      assert.equal(
        Buffer.from(read ?? [])
          .toString('hex')
          .replace(/^00$/, ''),
        value,
      );
    }),
  );
});

test('arbitrary bytes never throw, and what reads writes back the same', () => {
  const rewrite = (element: NonNullable<ReturnType<typeof readDer>>): Buffer =>
    (element.tag & 0x20) === 0
      ? writeDer(element.tag, element.content)
      : writeDer(element.tag, ...element.children.map(rewrite));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const read = readDer(bytes);
      if (read !== undefined) assert.deepEqual(rewrite(read), Buffer.from(bytes));
    }),
    { numRuns: 2000 },
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { appended, growing, type GrowingBytes } from '../../src/registry/growing-bytes.ts';

test('each text stays what it is, whichever others were made of the one that it was made of', () => {
  const bytes = fc.uint8Array({ maxLength: 40 });
  /** What is appended, and to which of the texts before. */
  const steps = fc.array(fc.tuple(bytes, fc.nat()), { maxLength: 40 });
  fc.assert(
    fc.property(bytes, steps, (first, appending) => {
      const made: { readonly text: GrowingBytes; readonly expected: Uint8Array }[] = [
        { text: growing(first), expected: first },
      ];
      for (const [added, which] of appending) {
        const before = made[which % made.length];
        if (before === undefined) throw new Error('there is always one');
        made.push({ text: appended(before.text, added), expected: Buffer.concat([before.expected, added]) });
      }
      for (const { text, expected } of made) assert.deepEqual(Buffer.from(text.bytes), Buffer.from(expected));
    }),
  );
});

test('a thousand times a little is copied a few times only', () => {
  let text = growing(Buffer.alloc(100));
  const rooms = new Set([text.room]);
  for (let count = 0; count < 1_000; count += 1) {
    text = appended(text, Buffer.alloc(100));
    rooms.add(text.room);
  }
  assert.equal(text.bytes.byteLength, 100_100);
  assert.ok(rooms.size < 40, `${rooms.size} rooms`);
});

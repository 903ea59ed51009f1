import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { derTag, writeDer, writeUnsigned } from '../../src/codec/der.ts';
import { type EcdsaCurve, ecdsaDerToRaw, ecdsaRawToDer } from '../../src/codec/ecdsa.ts';

const curves = ['P-256', 'P-384', 'P-521'] as const satisfies readonly EcdsaCurve[];
const orders = {
  'P-256': 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  'P-384': 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  'P-521':
    0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
} as const;

const scalar = (value: bigint, width: number): Buffer =>
  Buffer.from(value.toString(16).padStart(2 * width, '0'), 'hex');
const der = (r: Uint8Array, s: Uint8Array): Buffer => writeDer(derTag.sequence, writeUnsigned(r), writeUnsigned(s));

/** Bytes of r, and of s, in the raw form. */
const widths: Readonly<Record<EcdsaCurve, number>> = { 'P-256': 32, 'P-384': 48, 'P-521': 66 };

for (const curve of curves) {
  const width = widths[curve];
  const n = orders[curve];
  /** Values of every length: the short ones are what a naive conversion gets wrong. */
  const anyScalar = fc
    .integer({ min: 1, max: width * 8 })
    .chain((bits) => fc.bigInt({ min: 1n, max: 2n ** BigInt(bits) }))
    .map((value) => ((value - 1n) % (n - 1n)) + 1n);

  test(`${curve}: DER and raw are two spellings of the same r and s, of any length`, () => {
    fc.assert(
      fc.property(anyScalar, anyScalar, (r, s) => {
        const raw = Buffer.concat([scalar(r, width), scalar(s, width)]);
        const encoded = ecdsaRawToDer(raw, curve);
        assert.ok(encoded);
        assert.deepEqual(ecdsaDerToRaw(encoded, curve), raw);
      }),
      { numRuns: 400 },
    );
  });

  test(`${curve}: r and s outside [1, n-1] are refused in both directions`, () => {
    const good = scalar(n - 1n, width);
    for (const bad of [0n, n, n + 1n]) {
      const wrong = scalar(bad, width);
      for (const [r, s] of [
        [wrong, good],
        [good, wrong],
      ] as const) {
        assert.equal(ecdsaRawToDer(Buffer.concat([r, s]), curve), undefined);
        assert.equal(ecdsaDerToRaw(der(r, s), curve), undefined);
      }
    }
    assert.ok(ecdsaRawToDer(Buffer.concat([good, good]), curve));
  });

  test(`${curve}: other lengths and loose DER are refused`, () => {
    const one = scalar(1n, width);
    assert.equal(ecdsaRawToDer(Buffer.alloc(2 * width - 1, 1), curve), undefined);
    assert.equal(ecdsaRawToDer(Buffer.alloc(2 * width + 1, 1), curve), undefined);
    const tooWide = Buffer.concat([Uint8Array.of(1), one]);
    assert.equal(ecdsaDerToRaw(der(tooWide, one), curve), undefined);
    assert.equal(ecdsaDerToRaw(Buffer.concat([der(one, one), Uint8Array.of(0)]), curve), undefined);
    assert.equal(ecdsaDerToRaw(writeDer(0x30, writeUnsigned(one)), curve), undefined);
    assert.equal(ecdsaDerToRaw(writeDer(0x30, ...Array(3).fill(writeUnsigned(one))), curve), undefined);
    assert.equal(ecdsaDerToRaw(writeDer(0x31, writeUnsigned(one), writeUnsigned(one)), curve), undefined);
    assert.equal(ecdsaDerToRaw(Buffer.from('300702020001020101', 'hex'), curve), undefined);
  });

  test(`${curve}: what OpenSSL signs converts, and verifies in the other spelling`, () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
    for (let round = 0; round < 40; round += 1) {
      const message = Buffer.from(`message ${round}`);
      const raw = ecdsaDerToRaw(sign('sha256', message, privateKey), curve);
      assert.ok(raw);
      assert.ok(verify('sha256', message, { key: publicKey, dsaEncoding: 'ieee-p1363' }, raw));
      const encoded = ecdsaRawToDer(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' }), curve);
      assert.ok(encoded && verify('sha256', message, publicKey, encoded));
    }
  });
}

test('arbitrary bytes never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 160 }), fc.constantFrom(...curves), (bytes, curve) => {
      const raw = ecdsaDerToRaw(bytes, curve);
      if (raw !== undefined) assert.deepEqual(ecdsaRawToDer(raw, curve), Buffer.from(bytes));
    }),
    { numRuns: 1000 },
  );
});

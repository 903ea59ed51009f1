// Signatures that must never leave, made of a real one of P-256.
import { generateKeyPairSync, sign } from 'node:crypto';
import { derTag, writeDer, writeUnsigned } from '../../../src/codec/der.ts';

/** How a backend writes ECDSA signatures: DER, or r || s. */
export type Encoding = 'der' | 'raw';

export type Real = {
  readonly message: Buffer;
  readonly encoding: Encoding;
  /** As the backend gave it. */
  readonly signature: Buffer;
  /** The same, r || s. */
  readonly raw: Buffer;
  /** By the same key, of another message, as the backend gave it. */
  readonly earlier: Buffer;
};

const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
export const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const strangerOf384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });

const half = (raw: Buffer, index: 0 | 1): Buffer => raw.subarray(32 * index, 32 * (index + 1));
const integer = (...content: readonly Uint8Array[]): Buffer => writeDer(derTag.integer, ...content);
const looseDer = (r: Buffer, s: Buffer): Buffer => writeDer(derTag.sequence, writeUnsigned(r), writeUnsigned(s));
const written = (encoding: Encoding, r: Buffer, s: Buffer): Buffer =>
  encoding === 'raw' ? Buffer.concat([r, s]) : looseDer(r, s);
export const flipped = (bytes: Buffer): Buffer => {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
  return copy;
};

/** n - s: ECDSA cannot tell the two apart, so this one is as good. */
export const otherS = ({ raw, encoding }: Real): Buffer => {
  const value = BigInt(`0x${order.toString('hex')}`) - BigInt(`0x${half(raw, 1).toString('hex')}`);
  return written(encoding, half(raw, 0), Buffer.from(value.toString(16).padStart(64, '0'), 'hex'));
};

/** What is refused by its form; `raw` backends are converted, and that is where it is seen. */
const bad = 'BAD_SIGNATURE';
const malformed = 'KEY_ANSWER_MALFORMED';

type Forgery = {
  readonly name: string;
  readonly forge: (real: Real) => Buffer;
  /** The reason it is refused with, by what the backend writes. */
  readonly reasons: Readonly<Record<Encoding, string>>;
};

const never: Forgery['reasons'] = { der: bad, raw: bad };
const byForm: Forgery['reasons'] = { der: bad, raw: malformed };
const unread: Forgery['reasons'] = { der: malformed, raw: malformed };

const rows: readonly (readonly [name: string, forge: Forgery['forge'], reasons: Forgery['reasons']])[] = [
  ['one bit of s is wrong', ({ raw, encoding }) => written(encoding, half(raw, 0), flipped(half(raw, 1))), never],
  ['one bit of r is wrong', ({ raw, encoding }) => written(encoding, flipped(half(raw, 0)), half(raw, 1)), never],
  ['r and s are swapped', ({ raw, encoding }) => written(encoding, half(raw, 1), half(raw, 0)), never],
  [
    "another key's signature",
    ({ message, encoding }) =>
      sign('sha256', message, {
        key: stranger.privateKey,
        dsaEncoding: encoding === 'raw' ? 'ieee-p1363' : 'der',
      }),
    never,
  ],
  ['the signature of another message', ({ earlier }) => earlier, never],
  ["a signature of another curve's key", ({ message }) => sign('sha256', message, strangerOf384.privateKey), byForm],
  ['r is zero', ({ raw, encoding }) => written(encoding, Buffer.alloc(32), half(raw, 1)), byForm],
  ['s is zero', ({ raw, encoding }) => written(encoding, half(raw, 0), Buffer.alloc(32)), byForm],
  ['s is the order of the group', ({ raw, encoding }) => written(encoding, half(raw, 0), order), byForm],
  ['garbage DER', () => Buffer.from('30450221deadbeef', 'hex'), byForm],
  ['DER of two ones', () => Buffer.from('3006020101020101', 'hex'), byForm],
  ['zeros', () => Buffer.alloc(71), byForm],
  ['text', () => Buffer.from('signature'), byForm],
  ['the last byte is missing', ({ signature }) => signature.subarray(0, -1), byForm],
  ['half of it', ({ signature }) => signature.subarray(0, signature.length / 2), byForm],
  ['one byte more', ({ signature }) => Buffer.concat([signature, Buffer.of(0)]), byForm],
  ['twice', ({ signature }) => Buffer.concat([signature, signature]), byForm],
  [
    'DER with a padded r',
    ({ raw }) => writeDer(derTag.sequence, integer(Buffer.alloc(2), half(raw, 0)), writeUnsigned(half(raw, 1))),
    byForm,
  ],
  [
    'DER with a long length',
    ({ raw }) => {
      const der = looseDer(half(raw, 0), half(raw, 1));
      return Buffer.concat([Buffer.of(0x30, 0x81), der.subarray(1)]);
    },
    byForm,
  ],
  [
    'DER with a third number',
    ({ raw }) => writeDer(derTag.sequence, ...[0, 1, 1].map((index) => writeUnsigned(half(raw, index as 0 | 1)))),
    byForm,
  ],
  [
    'the other way to write it',
    ({ raw, encoding }) => (encoding === 'raw' ? looseDer(half(raw, 0), half(raw, 1)) : raw),
    byForm,
  ],
  ['one byte', () => Buffer.of(0x30), byForm],
  ['nothing', () => Buffer.alloc(0), unread],
  ['1000 bytes', ({ signature }) => Buffer.alloc(1000, signature), byForm],
  ['16 KiB', ({ signature }) => Buffer.alloc(16 * 1024, signature), unread],
];

export const forgeries: readonly Forgery[] = rows.map(([name, forge, reasons]) => ({ name, forge, reasons }));

/** A generator with a seed (mulberry32), so that a garbled answer that breaks something can be made again. */
const seeded = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

/** Some bytes changed, dropped, doubled, or cut off. */
export const garbled = (bytes: Buffer, seed: number): Buffer => {
  const random = seeded(seed);
  const at = (): number => Math.floor(random() * bytes.length);
  const [one, other] = [at(), at()].toSorted((a, b) => a - b) as [number, number];
  switch (seed % 4) {
    case 0:
      return Buffer.concat([bytes.subarray(0, one), bytes.subarray(other)]);
    case 1:
      return Buffer.concat([bytes.subarray(0, other), bytes.subarray(one)]);
    default: {
      const copy = Buffer.from(bytes);
      for (let count = 1 + Math.floor(random() * 4); count > 0; count--) copy[at()] = Math.floor(random() * 256);
      return copy;
    }
  }
};

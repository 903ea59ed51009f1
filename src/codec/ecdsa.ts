import { derTag, readDer, readUnsigned, writeDer, writeUnsigned } from './der.ts';

/** The curves whose signatures can be converted, by their NIST names. */
export type EcdsaCurve = 'P-256' | 'P-384' | 'P-521';

/** Order of the group of each curve (SEC 2 version 2, sections 2.4.2, 2.5.1, 2.6.1); its length is that of r and of s. */
const orders: Readonly<Record<EcdsaCurve, Buffer>> = {
  'P-256': Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex'),
  'P-384': Buffer.from(
    'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
    'hex',
  ),
  'P-521': Buffer.from(
    '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa' +
      '51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
    'hex',
  ),
};

const inRange = (scalar: Buffer, order: Buffer): boolean =>
  scalar.some((byte) => byte !== 0) && Buffer.compare(scalar, order) < 0;

/** Puts a magnitude at the end of a field of zeros: a short r or s loses its place otherwise. False when it does not fit. */
const place = (magnitude: Uint8Array | undefined, field: Buffer): boolean => {
  if (magnitude === undefined || magnitude.length > field.length) return false;
  field.set(magnitude, field.length - magnitude.length);
  return true;
};

/**
 * `Ecdsa-Sig-Value ::= SEQUENCE { r INTEGER, s INTEGER }` (RFC 3279 section 2.2.3) -> r || s, each of the curve's fixed
 * width (IEEE P1363). Undefined unless it is DER with r and s in [1, n-1].
 */
export const ecdsaDerToRaw = (der: Uint8Array, curve: EcdsaCurve): Buffer | undefined => {
  const order = orders[curve];
  const sequence = readDer(der, { maxBytes: 2 * order.length + 16, maxDepth: 2, maxElements: 3 });
  if (sequence?.tag !== derTag.sequence || sequence.children.length !== 2) return undefined;
  const raw = Buffer.alloc(2 * order.length);
  const r = raw.subarray(0, order.length);
  const s = raw.subarray(order.length);
  if (!place(readUnsigned(sequence.children[0]), r) || !place(readUnsigned(sequence.children[1]), s)) return undefined;
  return inRange(r, order) && inRange(s, order) ? raw : undefined;
};

/** r || s of the curve's fixed width -> DER; undefined when the length is wrong or r or s is outside [1, n-1]. */
export const ecdsaRawToDer = (raw: Uint8Array, curve: EcdsaCurve): Buffer | undefined => {
  const order = orders[curve];
  if (raw.length !== 2 * order.length) return undefined;
  const r = Buffer.from(raw.subarray(0, order.length));
  const s = Buffer.from(raw.subarray(order.length));
  if (!inRange(r, order) || !inRange(s, order)) return undefined;
  return writeDer(derTag.sequence, writeUnsigned(r), writeUnsigned(s));
};

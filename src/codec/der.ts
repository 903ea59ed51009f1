/**
 * A strict reader and a small writer for DER (ITU-T X.690 section 10): definite lengths in their shortest form, tags below
 * 31, nothing left over. Anything else is not DER and reads as `undefined`. Pure.
 */
export type DerElement = {
  /** The identifier octet: class, constructed bit and number, such as 0x30 for SEQUENCE. */
  readonly tag: number;
  readonly content: Uint8Array;
  /** The elements inside a constructed element; empty for a primitive one. */
  readonly children: readonly DerElement[];
};

export type DerLimits = {
  /** The longest encoding that is looked at, in bytes. */
  readonly maxBytes: number;
  /** How many levels may nest; a lone primitive is 1. */
  readonly maxDepth: number;
  /** How many elements there may be in all. */
  readonly maxElements: number;
};

export const derTag = { integer: 0x02, sequence: 0x30 } as const;

const defaultLimits: DerLimits = { maxBytes: 64 * 1024, maxDepth: 16, maxElements: 1024 };

type Header = { readonly tag: number; readonly start: number; readonly end: number };

/** Reads identifier and length at `offset`; `limit` is where the enclosing element ends. */
const readHeader = (bytes: Uint8Array, offset: number, limit: number): Header | undefined => {
  const tag = bytes[offset];
  const first = bytes[offset + 1];
  if (tag === undefined || first === undefined || offset + 2 > limit) return undefined;
  if ((tag & 0x1f) === 0x1f || tag === 0x00) return undefined;
  let length = first;
  let start = offset + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 4 || start + count > limit) return undefined;
    length = 0;
    for (const byte of bytes.subarray(start, start + count)) length = length * 256 + byte;
    if (length < 0x80 || length < 256 ** (count - 1)) return undefined;
    start += count;
  }
  const end = start + length;
  return end > limit ? undefined : { tag, start, end };
};

type Budget = { elements: number };

const readAll = (
  bytes: Uint8Array,
  from: number,
  to: number,
  depth: number,
  budget: Budget,
): DerElement[] | undefined => {
  const elements: DerElement[] = [];
  for (let offset = from; offset < to; ) {
    budget.elements -= 1;
    const header = readHeader(bytes, offset, to);
    if (header === undefined || depth < 1 || budget.elements < 0) return undefined;
    const constructed = (header.tag & 0x20) !== 0;
    const children = constructed ? readAll(bytes, header.start, header.end, depth - 1, budget) : [];
    if (children === undefined) return undefined;
    elements.push({ tag: header.tag, content: bytes.subarray(header.start, header.end), children });
    offset = header.end;
  }
  return elements;
};

/** Reads exactly one element that fills `bytes`; undefined when they are not DER or exceed the limits. */
export const readDer = (bytes: Uint8Array, limits: Partial<DerLimits> = {}): DerElement | undefined => {
  const { maxBytes, maxDepth, maxElements } = { ...defaultLimits, ...limits };
  if (bytes.length > maxBytes) return undefined;
  const elements = readAll(bytes, 0, bytes.length, maxDepth, { elements: maxElements });
  return elements?.length === 1 ? elements[0] : undefined;
};

/** The big-endian magnitude of a non-negative INTEGER, without its sign octet; undefined for a negative or padded one. */
export const readUnsigned = (element: DerElement | undefined): Uint8Array | undefined => {
  if (element?.tag !== derTag.integer) return undefined;
  const [first, second] = element.content;
  if (first === undefined || first >= 0x80) return undefined;
  if (first !== 0 || second === undefined) return element.content;
  return second >= 0x80 ? element.content.subarray(1) : undefined;
};

/** One element with its identifier and shortest length in front of the content. */
export const writeDer = (tag: number, ...content: readonly Uint8Array[]): Buffer => {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest % 256);
  const header = length < 0x80 ? [tag, length] : [tag, 0x80 | octets.length, ...octets];
  return Buffer.concat([Uint8Array.from(header), ...content]);
};

/** An INTEGER from a big-endian magnitude: leading zeros dropped, a sign octet added where it is needed. */
export const writeUnsigned = (magnitude: Uint8Array): Buffer => {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1;
  const minimal = magnitude.subarray(start);
  const first = minimal[0] ?? 0;
  const sign = minimal.length === 0 || first >= 0x80 ? Uint8Array.of(0) : new Uint8Array();
  return writeDer(derTag.integer, sign, minimal);
};

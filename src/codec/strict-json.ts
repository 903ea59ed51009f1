import { isUtf8 } from 'node:buffer';
import { CountersignError } from '../model/error.ts';
import { findJsonFault } from './json-fault.ts';

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject;
export type JsonObject = { [key: string]: JsonValue };

export type JsonLimits = {
  /** The most bytes of text; default 1 MiB. */
  readonly maxBytes?: number;
  /** The most objects and arrays inside one another; default 64. */
  readonly maxDepth?: number;
  /** The most keys in one object; default 10,000. */
  readonly maxKeys?: number;
  /** Refuse integers beyond ±(2^53 - 1), which a JavaScript number cannot hold exactly; default false. */
  readonly rejectUnsafeIntegers?: boolean;
};

/** Is this JSON value an object (not null, not an array)? */
export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const malformed = (problem: string, text?: string, position?: number): CountersignError => {
  if (text === undefined || position === undefined) {
    return new CountersignError('invalid_argument', 'MALFORMED_JSON', `Not valid JSON: ${problem}.`);
  }
  const before = text.slice(0, position);
  const line = before.split('\n').length;
  const column = position - before.lastIndexOf('\n');
  return new CountersignError(
    'invalid_argument',
    'MALFORMED_JSON',
    `Not valid JSON: ${problem} (line ${line}, column ${column}).`,
    { metadata: { line: `${line}`, column: `${column}` } },
  );
};

/** One pass over the bytes: how many `:` stand outside of strings, and how deep it goes. Stops where the depth is too great. */
const survey = (bytes: Uint8Array, maxDepth: number): { colons: number; tooDeepAt: number | undefined } => {
  let colons = 0;
  let depth = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === 0x22) {
      for (at++; at < bytes.length && bytes[at] !== 0x22; at++) if (bytes[at] === 0x5c) at++;
    } else if (byte === 0x3a) colons++;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) return { colons, tooDeepAt: at };
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return { colons, tooDeepAt: undefined };
};

/** Counts all keys below `value` and refuses what the grammar allows and we do not. Recursion is bounded by the survey. */
const inspect = (value: JsonValue, maxKeys: number, rejectUnsafeIntegers: boolean): number => {
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw malformed('a string holds half of a surrogate pair (\\ud800 to \\udfff alone)');
    return 0;
  }
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw malformed('a number is too large');
    if (rejectUnsafeIntegers && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      throw malformed('an integer is beyond ±9007199254740991; write it as a string');
    }
    return 0;
  }
  if (typeof value !== 'object' || value === null) return 0;
  let keys = 0;
  if (Array.isArray(value)) {
    for (const item of value) keys += inspect(item, maxKeys, rejectUnsafeIntegers);
    return keys;
  }
  const entries = Object.entries(value);
  if (entries.length > maxKeys) throw malformed(`an object has more than ${maxKeys} keys`);
  for (const [key, item] of entries) {
    if (key === '__proto__') throw malformed('the key "__proto__" is not allowed');
    if (!key.isWellFormed()) throw malformed('a key holds half of a surrogate pair (\\ud800 to \\udfff alone)');
    keys += inspect(item, maxKeys, rejectUnsafeIntegers);
  }
  return keys + entries.length;
};

/**
 * Parses JSON (RFC 8259) as strictly as I-JSON (RFC 7493) asks: UTF-8 without a byte order mark, no duplicate keys, no lone
 * surrogates, no number beyond a double; bounded in bytes, depth and keys; the key `__proto__` is refused. Objects are
 * ordinary ones, so look up names that a stranger chose with `Object.hasOwn`.
 *
 * Throws `invalid_argument`, reason `MALFORMED_JSON`; the message says what and, where the grammar is broken, the line and
 * column (also in `metadata`), and never repeats the input.
 */
export const parseStrictJson = (bytes: Uint8Array, limits: JsonLimits = {}): JsonValue => {
  const { maxBytes = 1024 * 1024, maxDepth = 64, maxKeys = 10_000, rejectUnsafeIntegers = false } = limits;
  if (bytes.length > maxBytes) throw malformed(`more than ${maxBytes} bytes`);
  if (!isUtf8(bytes)) throw malformed('the bytes are not UTF-8');
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) throw malformed('it begins with a byte order mark');
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');

  const { colons, tooDeepAt } = survey(bytes, maxDepth);
  if (tooDeepAt !== undefined) throw malformed(`nested more than ${maxDepth} deep`);

  let value: JsonValue;
  try {
    value = JSON.parse(text);
  } catch {
    const fault = findJsonFault(text);
    throw malformed(fault?.problem ?? 'the grammar is broken', text, fault?.position);
  }
  // Of two equal keys JSON.parse keeps the last, so fewer keys than colons means that one stood twice.
  if (inspect(value, maxKeys, rejectUnsafeIntegers) !== colons) {
    const fault = findJsonFault(text);
    throw malformed(fault?.problem ?? 'a key stands twice in one object', text, fault?.position);
  }
  return value;
};

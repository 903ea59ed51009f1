import { CountersignError } from '../model/error.ts';

/**
 * JSON as Go's `encoding/json` writes it, which is what cosign signs: `<`, `>`, `&`, U+2028 and U+2029 become
 * `\u003c` and so on; everything else as `JSON.stringify`.
 */
export const goString = (text: string): string =>
  jsonString(text).replace(/[<>&\u2028\u2029]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** JSON as protojson writes it: nothing escaped that need not be. */
export const jsonString = (text: string): string => {
  if (!text.isWellFormed()) {
    throw new CountersignError(
      'invalid_argument',
      'INVALID_TEXT',
      'Send text that is valid Unicode, without lone surrogates.',
    );
  }
  return JSON.stringify(text);
};

/** A JSON object of strings, members sorted by their UTF-8 bytes, as Go sorts the keys of a map. */
export const stringMap = (map: Readonly<Record<string, string>>, encode: (text: string) => string): string => {
  const members = Object.entries(map)
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([name, value]) => `${encode(name)}:${encode(value)}`);
  return `{${members.join(',')}}`;
};

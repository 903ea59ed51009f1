/**
 * JSON Canonicalization Scheme (RFC 8785): no white space, members sorted by UTF-16 code units, numbers as ECMAScript
 * writes them. For JSON values only.
 *
 * @returns text whose UTF-8 bytes are the canonical form.
 * @throws TypeError for what JSON cannot carry: undefined, functions, bigint, NaN, infinities, lone surrogates.
 */
export const canonicalJson = (value: unknown): string => {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'number' && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value === 'string') return canonicalString(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (typeof value === 'object') {
    const members = Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([name, member]) => `${canonicalString(name)}:${canonicalJson(member)}`);
    return `{${members.join(',')}}`;
  }
  throw new TypeError(`JSON has no ${typeof value === 'number' ? String(value) : typeof value}`);
};

const canonicalString = (text: string): string => {
  if (!text.isWellFormed()) throw new TypeError('JSON text holds a lone surrogate');
  return JSON.stringify(text);
};

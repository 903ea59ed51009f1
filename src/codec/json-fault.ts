/** Where and how some text fails to be JSON as strict-json.ts wants it. `position` counts UTF-16 units from 0. */
export type JsonFault = { readonly position: number; readonly problem: string };

/** A JSON number (RFC 8259 section 6), from `lastIndex` on. */
const numberToken = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** One character of a string or one whole escape (RFC 8259 section 7), from `lastIndex` on; never more than needed. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings must not hold raw control characters
const stringPart = /[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/**
 * Finds the first grammar error (RFC 8259) or duplicate key in `text`; undefined when there is none. Slow and precise: only
 * called when the fast path has already found that something is wrong. Recursion is bounded by the depth check before it.
 */
export const findJsonFault = (text: string): JsonFault | undefined => {
  let at = 0;
  let fault: JsonFault | undefined;

  const fail = (problem: string, position = at): false => {
    fault ??= { position, problem };
    return false;
  };
  const space = (): void => {
    while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  };
  const token = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  const word = (expected: string): boolean => {
    if (!text.startsWith(expected, at)) return fail('expected a JSON value');
    at += expected.length;
    return true;
  };
  const string = (): boolean => {
    if (text[at] !== '"') return fail('expected a string in double quotes');
    at++;
    while (token(stringPart));
    if (text[at] !== '"')
      return fail(at < text.length ? 'bad character or escape in a string' : 'a string does not end');
    at++;
    return true;
  };
  const member = (seen: Set<string>): boolean => {
    const start = at;
    if (!string()) return false;
    const key: string = JSON.parse(text.slice(start, at));
    if (seen.has(key)) return fail('this key stands twice in one object; keep one of them', start);
    seen.add(key);
    space();
    if (text[at] !== ':') return fail('expected ":" after a key');
    at++;
    return value();
  };
  const sequence = (close: ']' | '}', item: () => boolean): boolean => {
    at++;
    space();
    if (text[at] === close) {
      at++;
      return true;
    }
    for (;;) {
      space();
      if (!item()) return false;
      space();
      const next = text[at];
      if (next !== ',' && next !== close) return fail(`expected "," or "${close}"`);
      at++;
      if (next === close) return true;
    }
  };
  const value = (): boolean => {
    space();
    const first = text[at];
    if (first === undefined) return fail('the text ends too early');
    if (first === '{') {
      const seen = new Set<string>();
      return sequence('}', () => member(seen));
    }
    if (first === '[') return sequence(']', value);
    if (first === '"') return string();
    if (first === 't') return word('true');
    if (first === 'f') return word('false');
    if (first === 'n') return word('null');
    return token(numberToken) || fail('expected a JSON value');
  };

  if (value()) {
    space();
    if (at < text.length) fail('something follows the JSON value; remove it');
  }
  return fault;
};

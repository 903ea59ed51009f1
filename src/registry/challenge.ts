/** One challenge of a `WWW-Authenticate` header. Scheme and parameter names are lower case. */
export type Challenge = { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> };

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const quoted = /"((?:[^"\\\p{Cc}]|\\[\t\x20-\x7e])*)"/uy;
const separators = /[ \t,]*/y;
const spaces = /[ \t]*/y;
const maxLength = 8_192;

/**
 * Parses `WWW-Authenticate` (RFC 9110 section 11.6.1), also several of them joined with `, `. Strict: undefined for
 * anything that the grammar does not allow (an unterminated quote, a parameter twice, more than 8,192 characters).
 */
export const parseChallenges = (header: string): readonly Challenge[] | undefined => {
  if (header.length > maxLength) return undefined;
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    position = pattern.lastIndex;
    return match;
  };

  /** `name = value`, or back to where it began. `null`: it is a parameter, but a bad one. */
  const takeParameter = (): readonly [string, string] | null | undefined => {
    const start = position;
    const name = take(token)?.[0];
    take(spaces);
    if (name === undefined || header[position] !== '=') {
      position = start;
      return undefined;
    }
    position++;
    take(spaces);
    const quotedValue = take(quoted)?.[1];
    const value = quotedValue === undefined ? take(token)?.[0] : quotedValue.replace(/\\(.)/g, '$1');
    return value === undefined ? null : [name.toLowerCase(), value];
  };

  const challenges: Challenge[] = [];
  for (take(separators); position < header.length; take(separators)) {
    const scheme = take(token)?.[0];
    if (scheme === undefined || !/^[ \t,]?$/.test(header[position] ?? '')) return undefined;
    take(spaces);
    const parameters = new Map<string, string>();
    if (take(token68) === undefined) {
      for (;;) {
        const start = position;
        if (parameters.size > 0) {
          if (!/^[ \t]*(?:,|$)/.test(header.slice(position))) return undefined;
          take(separators);
        }
        const parameter = takeParameter();
        if (parameter === null) return undefined;
        if (parameter === undefined) {
          position = start;
          break;
        }
        if (parameters.has(parameter[0])) return undefined;
        parameters.set(...parameter);
      }
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
};

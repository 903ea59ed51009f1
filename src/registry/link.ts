/** One link of a `Link` header: where it leads (a reference, relative or not) and its parameters, names in lower case. */
export type Link = { readonly target: string; readonly parameters: ReadonlyMap<string, string> };

const reference = /<([^<>\p{Cc}]*)>/uy;
const name = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const quoted = /"((?:[^"\\\p{Cc}]|\t|\\[^\p{Cc}])*)"/uy;
/** RFC 5988 let some values stand without quotes that RFC 8288 wants quoted. */
const bare = /[^\s\p{Cc}",;\\]+/uy;
const spaces = /[ \t]*/y;
const separators = /[ \t,]*/y;
const semicolons = /[ \t;]*/y;
/** Registries put whole tokens into their links. */
const maxLength = 8_192;

/**
 * Parses `Link` (RFC 8288 section 3), also several of them joined with `, `. Strict, since a link that is overlooked cuts a list:
 * undefined for anything that the grammar does not allow, for a link without `rel`, and for more than 8,192 characters. Of a
 * parameter that comes twice the first one counts (section 3.3).
 */
export const parseLinks = (header: string): readonly Link[] | undefined => {
  if (header.length > maxLength) return undefined;
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = position;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    position = pattern.lastIndex;
    return match;
  };
  const atEnd = (): boolean => position >= header.length || header[position] === ',';

  /** Undefined: not one. A parameter without a value has the empty one. */
  const takeParameter = (): readonly [string, string] | undefined => {
    const key = take(name)?.[0].toLowerCase();
    if (key === undefined) return undefined;
    take(spaces);
    if (header[position] !== '=') return [key, ''];
    position++;
    take(spaces);
    const value = take(quoted)?.[1]?.replace(/\\(.)/gu, '$1') ?? take(bare)?.[0];
    return value === undefined ? undefined : [key, value];
  };

  const links: Link[] = [];
  for (take(separators); position < header.length; take(separators)) {
    const target = take(reference)?.[1];
    if (target === undefined) return undefined;
    const parameters = new Map<string, string>();
    for (take(spaces); !atEnd(); take(spaces)) {
      if (header[position] !== ';') return undefined;
      take(semicolons);
      if (atEnd()) break;
      const parameter = takeParameter();
      if (parameter === undefined) return undefined;
      if (!parameters.has(parameter[0])) parameters.set(...parameter);
    }
    if (!parameters.has('rel')) return undefined;
    links.push({ target, parameters });
  }
  return links;
};

/**
 * Where the one link of relation `rel` (lower case) leads, from the page that it came with. Undefined: there is none. `null`: it
 * cannot be told, since the header is malformed, there are several, or one is about another page (`anchor`).
 */
export const findLink = (header: string, rel: string, page: URL): URL | undefined | null => {
  const links = parseLinks(header);
  if (links === undefined) return null;
  const hrefs = new Set<string>();
  for (const { target, parameters } of links) {
    const relations = (parameters.get('rel') ?? '').toLowerCase().split(/[ \t]+/);
    if (!relations.includes(rel)) continue;
    const anchor = parameters.get('anchor');
    if (anchor !== undefined && URL.parse(anchor, page.href)?.href !== page.href) return null;
    const url = URL.parse(target, page.href);
    if (url === null) return null;
    hrefs.add(url.href);
  }
  const [only] = hrefs;
  return hrefs.size > 1 ? null : only === undefined ? undefined : new URL(only);
};

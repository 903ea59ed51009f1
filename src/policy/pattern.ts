/**
 * A pattern matches the whole value, case-sensitively, character by character. Without a star it is a literal. `*` stands for
 * any characters but `/`, `**` for any characters; both also for none. There is nothing else: no classes, no alternatives.
 */
export type Pattern = {
  readonly source: string;
  readonly kind: 'literal' | 'glob';
  /** What every matching value begins with: all of a literal, a glob up to its first star. */
  readonly literalPrefix: string;
  test(value: string): boolean;
};

const maxPatternLength = 512;
/** Longer values match no glob: nothing honest is that long, and matching stays cheap. */
const maxValueLength = 4096;

/** Why `source` is not a pattern; undefined when it is one. */
export const patternProblem = (source: string): string | undefined => {
  if (source === '') return 'is empty';
  if (source.length > maxPatternLength) return `is longer than ${maxPatternLength} characters`;
  if (/\p{Cc}/u.test(source)) return 'holds a control character';
  if (source.trim() !== source) return 'begins or ends with a space';
  if (source.includes('***')) return 'has three stars in a row';
  return undefined;
};

const withinSegment = 0;
const anything = 1;
/** A glob as a list of characters and stars. */
type Token = string | typeof withinSegment | typeof anything;

const tokenize = (source: string): readonly Token[] =>
  (source.match(/\*\*|\*|[^*]/g) ?? []).map((part) => (part === '**' ? anything : part === '*' ? withinSegment : part));

/**
 * Walks all ways to match at once (Thompson's simulation), so the time is at most pattern length times value length.
 * `places[i]` says that the tokens before `i` can match what has been read.
 */
const simulate = (tokens: readonly Token[], value: string): boolean => {
  let places = new Uint8Array(tokens.length + 1);
  /** A star may also stand for nothing, so the place after it is reached at once. */
  const reach = (set: Uint8Array, from: number): void => {
    for (let place = from; set[place] === 0; place++) {
      set[place] = 1;
      if (typeof tokens[place] !== 'number') return;
    }
  };
  reach(places, 0);
  for (let at = 0; at < value.length; at++) {
    const next = new Uint8Array(tokens.length + 1);
    const character = value[at];
    let alive = false;
    for (let place = 0; place < tokens.length; place++) {
      if (places[place] === 0) continue;
      const token = tokens[place];
      if (token === anything || (token === withinSegment && character !== '/')) reach(next, place);
      else if (token === character) reach(next, place + 1);
      else continue;
      alive = true;
    }
    if (!alive) return false;
    places = next;
  }
  return places[tokens.length] === 1;
};

/** Compiles a pattern; throws a RangeError for one that `patternProblem` objects to. */
export const compilePattern = (source: string): Pattern => {
  const problem = patternProblem(source);
  if (problem !== undefined) throw new RangeError(`the pattern ${problem}`);
  const first = source.indexOf('*');
  if (first < 0) return { source, kind: 'literal', literalPrefix: source, test: (value) => value === source };

  const prefix = source.slice(0, first);
  const suffix = source.slice(source.lastIndexOf('*') + 1);
  const middle = source.slice(first, source.length - suffix.length);
  const tokens = tokenize(middle);
  const matchMiddle =
    middle === '**'
      ? () => true
      : middle === '*'
        ? (value: string, from: number, to: number) => {
            const slash = value.indexOf('/', from);
            return slash < 0 || slash >= to;
          }
        : (value: string, from: number, to: number) => simulate(tokens, value.slice(from, to));
  return {
    source,
    kind: 'glob',
    literalPrefix: prefix,
    test: (value) =>
      value.length >= prefix.length + suffix.length &&
      value.length <= maxValueLength &&
      value.startsWith(prefix) &&
      value.endsWith(suffix) &&
      matchMiddle(value, prefix.length, value.length - suffix.length),
  };
};

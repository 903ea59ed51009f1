import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from 'yaml';
import type { Mistake, Path } from './mistake.ts';

/** A file by the name under which messages speak of it. */
export type SourceFile = { readonly path: string; readonly text: string };

/** A parsed file: its value, and where in the text each part of it stands. */
export type YamlFile = {
  readonly value: unknown;
  readonly mistakes: readonly Mistake[];
  /** The line (from 1) of the deepest part of `path` that exists. */
  line(path: Path): number;
};

export const maxFileLength = 256 * 1024;

const lineOf = (document: Document, counter: LineCounter, path: Path): number => {
  let node: unknown = document.contents;
  let offset = isScalar(node) || isMap(node) || isSeq(node) ? (node.range?.[0] ?? 0) : 0;
  for (const part of path) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === String(part));
      if (isScalar(pair?.key)) offset = pair.key.range?.[0] ?? offset;
      next = pair?.value;
    } else if (isSeq(node) && typeof part === 'number') {
      next = node.items[part];
      if (isScalar(next) || isMap(next) || isSeq(next)) offset = next.range?.[0] ?? offset;
    }
    if (next === undefined) break;
    node = next;
  }
  return counter.linePos(offset).line;
};

/** What YAML offers and these files must not use: it hides what a rule says, or makes a small file large. */
const forbidden = (node: Node): string | undefined => {
  if (isAlias(node)) return 'an alias (*name)';
  if ('anchor' in node && node.anchor !== undefined) return 'an anchor (&name)';
  if (node.tag !== undefined) return 'a tag (!name)';
  return undefined;
};

const keyProblem = (key: unknown): string | undefined => {
  if (!isScalar(key) || typeof key.value !== 'string') return 'a key that is not a plain text is not allowed';
  if (key.value === '<<') return 'a merge key (<<) is not allowed';
  // Libraries drop this key for safety, and with it a condition that a rule states.
  return key.value === '__proto__' ? 'the key "__proto__" is not allowed' : undefined;
};

/**
 * Parses one YAML 1.2 document of at most 256 KiB without aliases, anchors, tags, merge keys, duplicate or compound keys.
 * `scalars`: `text` leaves every scalar as it is written (so `0123` and `true` are texts), `typed` reads numbers, booleans and
 * null by the core schema.
 */
export const parseYaml = ({ path: file, text }: SourceFile, scalars: 'text' | 'typed'): YamlFile => {
  const refused = (line: number, problem: string, fix: string): Mistake => ({ file, line, path: '', problem, fix });
  if (text.length > maxFileLength) {
    const mistake = refused(1, `the file is longer than ${maxFileLength} characters`, 'split it into several files');
    return { value: undefined, mistakes: [mistake], line: () => 1 };
  }
  const counter = new LineCounter();
  const document = parseDocument(text, {
    schema: scalars === 'text' ? 'failsafe' : 'core',
    version: '1.2',
    lineCounter: counter,
    uniqueKeys: true,
    merge: false,
    // Quoting the source for each of many errors takes time that grows with their square.
    prettyErrors: false,
  });
  const mistakes = document.errors
    .slice(0, 20)
    .map((error) =>
      refused(counter.linePos(error.pos[0]).line, `not valid YAML: ${error.message.slice(0, 200)}`, 'mend the syntax'),
    );
  if (mistakes.length > 0) return { value: undefined, mistakes, line: () => 1 };

  visit(document, (_, node) => {
    if (isPair(node)) {
      const problem = keyProblem(node.key);
      const range = isNode(node.key) ? node.key.range : undefined;
      if (problem !== undefined)
        mistakes.push(refused(counter.linePos(range?.[0] ?? 0).line, problem, 'write the fields out'));
    } else if (isNode(node)) {
      const what = forbidden(node);
      if (what !== undefined) {
        mistakes.push(
          refused(counter.linePos(node.range?.[0] ?? 0).line, `${what} is not allowed`, 'write the value out'),
        );
      }
    }
  });
  if (mistakes.length > 0) return { value: undefined, mistakes, line: () => 1 };
  return { value: document.toJS(), mistakes, line: (path) => lineOf(document, counter, path) };
};

import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Range,
} from 'yaml';

/** A way through a document: keys of mappings, indices of sequences. */
export type YamlPath = readonly (string | number)[];

/** Something wrong in a document; `line` and `column` count from 1. */
export type YamlMistake = {
  readonly line: number;
  readonly column: number;
  readonly problem: string;
  readonly fix: string;
};

export type YamlText = {
  /** Plain data: null, booleans, numbers, strings, arrays, and objects without prototype. */
  readonly value: unknown;
  /** Everything wrong, in the order of the text. When there is any, `value` is undefined. */
  readonly mistakes: readonly YamlMistake[];
  /** Where the thing at a path stands: its key (in a mapping) or itself. For an absent thing, what would hold it. */
  locate(path: YamlPath): { readonly line: number; readonly column: number };
};

/** `typed`: numbers, booleans and null as the core schema reads them; `text`: every scalar as it is written (`0123`, `true`). */
export type Scalars = 'typed' | 'text';

/** bytes */
export const maxYamlBytes = 256 * 1024;
const maxDepth = 64;

/**
 * Reads one YAML 1.2 document strictly: UTF-8, at most 256 KiB and 64 levels; no anchors, aliases, merge
 * keys, tags, directives, duplicate keys, keys that are not text, or second document. Never throws.
 */
export const readStrictYaml = (bytes: Uint8Array, scalars: Scalars = 'typed'): YamlText => {
  if (bytes.byteLength > maxYamlBytes)
    return unreadable(`is larger than ${maxYamlBytes} bytes`, 'split it or shorten it');
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return unreadable('is not UTF-8 text', 'save it as UTF-8');
  }
  try {
    return read(text, scalars);
  } catch (error) {
    if (error instanceof RangeError) return unreadable(`is nested more than ${maxDepth} levels deep`, 'flatten it');
    throw error;
  }
};

const unreadable = (problem: string, fix: string): YamlText => {
  const start = { line: 1, column: 1 };
  return { value: undefined, mistakes: [{ ...start, problem: `the file ${problem}`, fix }], locate: () => start };
};

const read = (text: string, scalars: Scalars): YamlText => {
  const lines = new LineCounter();
  // Duplicate keys are found below, in linear time.
  const document = parseDocument(text, {
    version: '1.2',
    schema: scalars === 'text' ? 'failsafe' : 'core',
    merge: false,
    uniqueKeys: false,
    stringKeys: false,
    prettyErrors: false,
    lineCounter: lines,
  });
  const position = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const mistakes: (YamlMistake & { readonly offset: number })[] = [];
  const refuse: Refuse = (offset, problem, fix) => {
    mistakes.push({ ...position(offset), offset, problem, fix });
  };

  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    if (code === 'MULTIPLE_DOCS') refuse(pos[0], 'there is a second document', 'remove the --- that begins it');
    else if (code === 'TAG_RESOLVE_FAILED') refuse(pos[0], 'a tag (!name) is not allowed', 'remove it');
    else refuse(pos[0], `not valid YAML: ${message}`, 'mend the syntax');
  }
  if (document.directives?.yaml.explicit === true || hasTagDirective(document)) {
    refuse(0, 'a directive (%NAME) is not allowed', 'remove it');
  }
  const value = toPlain(document.contents, 0, refuse);

  return {
    value: mistakes.length === 0 ? value : undefined,
    mistakes: mistakes.sort((left, right) => left.offset - right.offset),
    locate: (path) => position(offsetOf(document.contents, path)),
  };
};

const hasTagDirective = (document: Document.Parsed): boolean =>
  Object.keys(document.directives?.tags ?? {}).some((handle) => handle !== '!!');

type Refuse = (offset: number, problem: string, fix: string) => void;

const toPlain = (node: unknown, depth: number, refuse: Refuse): unknown => {
  if (!isNode(node)) return null;
  const offset = startOf(node);
  if (isAlias(node)) return refuse(offset, 'an alias (*name) is not allowed', 'write the value out');
  if (node.anchor !== undefined) refuse(offset, 'an anchor (&name) is not allowed', 'remove it');
  if (node.tag !== undefined) refuse(offset, 'a tag (!name) is not allowed', 'quote what shall be text');
  if (depth > maxDepth) return refuse(offset, `the file is nested more than ${maxDepth} levels deep`, 'flatten it');
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item) => toPlain(item, depth + 1, refuse));
  if (!isMap(node)) return null;

  const plain: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const { key, value } of node.items) {
    const at = isNode(key) ? startOf(key) : offset;
    if (!isScalar(key) || typeof key.value !== 'string') {
      refuse(at, 'a key that is not a plain text is not allowed', 'quote it');
    } else if (key.value === '<<') {
      refuse(at, 'a merge key (<<) is not allowed', 'write the values out');
    } else if (key.value === '__proto__') {
      refuse(at, 'the key "__proto__" is not allowed', 'remove it');
    } else if (key.value in plain) {
      refuse(at, `the key ${key.value} is here twice`, 'remove one');
    } else {
      if (key.anchor !== undefined) refuse(at, 'an anchor (&name) is not allowed', 'remove it');
      if (key.tag !== undefined) refuse(at, 'a tag (!name) is not allowed', 'remove it');
      plain[key.value] = toPlain(value, depth + 1, refuse);
    }
  }
  return plain;
};

const startOf = (node: Node): number => (node.range as Range | null | undefined)?.[0] ?? 0;

const offsetOf = (root: unknown, path: YamlPath): number => {
  let node = root;
  let offset = isNode(root) ? startOf(root) : 0;
  for (const step of path) {
    if (isSeq(node) && typeof step === 'number') {
      node = node.items[step];
      if (isNode(node)) offset = startOf(node);
    } else if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && key.value === step);
      if (pair === undefined) return offset;
      node = pair.value;
      if (isNode(pair.key)) offset = startOf(pair.key);
    } else {
      return offset;
    }
  }
  return offset;
};

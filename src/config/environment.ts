import { readFileSync } from 'node:fs';
import type { YamlPath } from '../codec/strict-yaml.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export type Expanded = {
  readonly value: unknown;
  readonly mistakes: readonly { readonly path: YamlPath; readonly message: string }[];
};

/** bytes */
const maxFileBytes = 64 * 1024;

/**
 * Replaces `${NAME}` in every text of `value`: by the variable NAME, or else by the content of the file that NAME_FILE
 * names (one final newline is dropped), or else, for `${NAME:-default}`, by the default. `$${` stands for a plain `${`.
 * What is put in is not expanded again, and stays text: it cannot change the structure. Where something is missing the
 * text is left as it is, and a mistake names the variable, never a value.
 */
export const expandEnvironment = (value: unknown, environment: Environment): Expanded => {
  const mistakes: { path: YamlPath; message: string }[] = [];
  const walk = (node: unknown, path: YamlPath): unknown => {
    if (typeof node === 'string') return expandText(node, environment, (message) => mistakes.push({ path, message }));
    if (Array.isArray(node)) return node.map((item, index) => walk(item, [...path, index]));
    if (typeof node !== 'object' || node === null) return node;
    const expanded: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    for (const [key, inner] of Object.entries(node)) expanded[key] = walk(inner, [...path, key]);
    return expanded;
  };
  return { value: walk(value, []), mistakes };
};

const placeholder = /\$\$\{|\$\{([^}]*)(\}?)/g;
const content = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

const expandText = (text: string, environment: Environment, refuse: (message: string) => void): string =>
  text.replace(placeholder, (whole, inside: string | undefined, end: string | undefined) => {
    if (inside === undefined) return '${';
    const parts = content.exec(inside);
    if (end === '' || parts === null) {
      refuse('holds a "${" that is no ${NAME} or ${NAME:-default}; write "$${" for a plain "${"');
      return whole;
    }
    try {
      return lookUp(parts[1] ?? '', parts[2], environment);
    } catch (error) {
      refuse((error as Error).message);
      return whole;
    }
  });

const lookUp = (name: string, fallback: string | undefined, environment: Environment): string => {
  const direct = environment[name];
  const file = environment[`${name}_FILE`];
  if (direct !== undefined && file !== undefined) throw new Error(`${name} and ${name}_FILE are both set; unset one`);
  if (file !== undefined) return readSecret(`${name}_FILE`, file);
  if (direct !== undefined && (direct !== '' || fallback === undefined)) return direct;
  if (fallback !== undefined) return fallback;
  throw new Error(`the environment variable ${name} is not set, nor is ${name}_FILE`);
};

const readSecret = (variable: string, file: string): string => {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    throw new Error(`the file that ${variable} names cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (bytes.byteLength > maxFileBytes) throw new Error(`the file that ${variable} names is over ${maxFileBytes} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '');
  } catch {
    throw new Error(`the file that ${variable} names is not UTF-8 text`);
  }
};

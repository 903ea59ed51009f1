import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { checkSchema } from '../codec/schema-faults.ts';
import { maxYamlBytes, readStrictYaml, type YamlPath, type YamlText } from '../codec/strict-yaml.ts';
import { CountersignError } from '../model/error.ts';
import { type Environment, expandEnvironment } from './environment.ts';
import { type Config, configSchema } from './schema.ts';

/** A configuration, or what is wrong with it and what it says all the same: unchecked, as far as YAML could be read. */
export type ReadConfig =
  | { readonly config: Config; readonly problem?: undefined; readonly draft?: undefined }
  | { readonly config?: undefined; readonly problem: CountersignError; readonly draft: unknown };

/**
 * Reads the configuration: one YAML file, with `${NAME}` in texts replaced from the environment (see
 * `expandEnvironment`). Relative file paths are taken from the folder of the file.
 *
 * Throws `invalid_argument`, reason `CONFIG_INVALID`, with every mistake at once (line, path, fix; values are never
 * quoted), or `failed_precondition`, reason `CONFIG_UNREADABLE`.
 */
export const loadConfig = async (path: string, environment: Environment): Promise<Config> => {
  const { config, problem } = await readConfig(path, environment);
  if (config === undefined) throw problem;
  return config;
};

/** As `loadConfig`, but answers with the mistakes (`CONFIG_INVALID`), for who wants to look for others besides. */
export const readConfig = async (path: string, environment: Environment): Promise<ReadConfig> => {
  const yaml = readStrictYaml(await readBounded(path));
  if (yaml.mistakes.length > 0) {
    const mistakes = yaml.mistakes.map(({ line, column, problem, fix }) => {
      return { line, column, field: '', message: `${problem}; ${fix}` };
    });
    return { problem: invalid(path, mistakes), draft: undefined };
  }
  const expanded = expandEnvironment(yaml.value, environment);
  const draft = resolvePaths(expanded.value, dirname(resolve(path)));
  const checked = checkSchema(configSchema, draft);
  // What a missing variable leaves behind is no second mistake.
  const unexpanded = new Set(expanded.mistakes.map((mistake) => pathText(mistake.path)));
  const mistakes = [
    ...expanded.mistakes,
    ...checked.faults.filter((fault) => !unexpanded.has(pathText(fault.path))),
  ].map((mistake) => locate(yaml, mistake));
  if (checked.value === undefined || mistakes.length > 0) return { problem: invalid(path, mistakes), draft };
  return { config: checked.value };
};

type Mistake = { readonly line: number; readonly column: number; readonly field: string; readonly message: string };

const locate = (yaml: YamlText, { path, message }: { path: YamlPath; message: string }): Mistake => ({
  ...yaml.locate(path),
  field: pathText(path),
  message,
});

const invalid = (path: string, unsorted: readonly Mistake[]): CountersignError => {
  const mistakes = unsorted.toSorted((left, right) => left.line - right.line || left.column - right.column);
  const lines = mistakes.map(({ line, column, field, message }) => {
    return `  ${path}:${line}:${column}: ${field === '' ? '' : `${field}: `}${message}`;
  });
  const count = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
  return new CountersignError(
    'invalid_argument',
    'CONFIG_INVALID',
    `The configuration has ${count}:\n${lines.join('\n')}`,
    {
      violations: mistakes.map(({ line, field, message }) => ({ field, description: `line ${line}: ${message}` })),
    },
  );
};

/** One byte more than allowed is enough to see that a file is too large. */
const readBounded = async (path: string): Promise<Uint8Array> => {
  try {
    await using file = await open(path, 'r');
    const buffer = Buffer.alloc(maxYamlBytes + 1);
    let length = 0;
    for (let bytesRead = -1; bytesRead !== 0; length += bytesRead) {
      ({ bytesRead } = await file.read(buffer, length, buffer.length - length));
    }
    return buffer.subarray(0, length);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new CountersignError(
      'failed_precondition',
      'CONFIG_UNREADABLE',
      `The configuration ${path} cannot be read (${code}).`,
      { cause: error },
    );
  }
};

/** Settings of these names hold a path: `file`, `files`, `...File`, `...Files`, `dockerConfig`. */
const isPathSetting = (name: string): boolean => /^files?$|Files?$|^dockerConfig$/.test(name);

const resolvePaths = (node: unknown, folder: string, name = ''): unknown => {
  if (typeof node === 'string') return isPathSetting(name) && node !== '' ? resolve(folder, node) : node;
  if (Array.isArray(node)) return node.map((item) => resolvePaths(item, folder, name));
  if (typeof node !== 'object' || node === null) return node;
  const resolved: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, inner] of Object.entries(node)) resolved[key] = resolvePaths(inner, folder, key);
  return resolved;
};

/** `keys[0].login.method` */
const pathText = (path: YamlPath): string =>
  path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${step}`))
    .join('')
    .replace(/^\./, '');

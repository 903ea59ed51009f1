import { maxYamlBytes, readStrictYaml, type Scalars } from '../codec/strict-yaml.ts';
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

/** bytes */
export const maxFileLength = maxYamlBytes;

/** Mistakes of syntax that are told; one often causes many. */
const maxMistakes = 20;

/** Parses one file as `readStrictYaml` does; its mistakes carry the file's name. */
export const parseYaml = ({ path: file, text }: SourceFile, scalars: Scalars): YamlFile => {
  const yaml = readStrictYaml(Buffer.from(text), scalars);
  return {
    value: yaml.value,
    mistakes: yaml.mistakes
      .slice(0, maxMistakes)
      .map(({ line, problem, fix }) => ({ file, line, path: '', problem, fix })),
    line: (path) => yaml.locate(path).line,
  };
};

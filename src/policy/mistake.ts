import { CountersignError } from '../model/error.ts';

/** One mistake in a policy or policy test file. */
export type Mistake = {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** `rules[2].caller.issuer`; empty for the file as a whole. */
  readonly path: string;
  readonly problem: string;
  /** What to do about it. */
  readonly fix: string;
};

/** A path into a parsed file. */
export type Path = readonly (string | number)[];

/** `rules[2].caller.issuer`; a name that is no word is quoted. */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    const plain = /^[\w-]+$/.test(part) ? part : JSON.stringify(part);
    return text === '' ? plain : `${text}.${plain}`;
  }, '');

const mistakeText = ({ file, line, path, problem, fix }: Mistake): string =>
  `${file}:${line}: ${path === '' ? '' : `${path}: `}${problem}; ${fix}`;

const shown = 100;

/** `invalid_argument`, reason `POLICY_INVALID`, with every mistake (the first hundred), one a line. */
export const policyInvalid = (found: readonly Mistake[]): CountersignError => {
  // They were found in the order of the checks; whoever mends a file goes down its lines.
  const files = [...new Set(found.map(({ file }) => file))];
  const mistakes = found.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line);
  const rest = mistakes.length > shown ? [`... and ${mistakes.length - shown} more`] : [];
  const listed = mistakes.slice(0, shown);
  return new CountersignError(
    'invalid_argument',
    'POLICY_INVALID',
    [
      `The policy has ${mistakes.length} mistake${mistakes.length === 1 ? '' : 's'}:`,
      ...listed.map(mistakeText),
      ...rest,
    ].join('\n'),
    {
      violations: listed.map((mistake) => ({
        field: `${mistake.file}:${mistake.line}${mistake.path === '' ? '' : `: ${mistake.path}`}`,
        description: `${mistake.problem}; ${mistake.fix}`,
      })),
    },
  );
};

import type { Terminal } from '../cli/command.ts';
import { printable, styled, table } from '../cli/output.ts';

/** Tells the demo: numbered steps, claims that are checked, facts. */
export type Narrator = {
  title(text: string, remark: string): void;
  /** Opens the next numbered step. */
  step(title: string): void;
  /** Says that something is so; throws when it is not. */
  check(claim: string, holds: boolean): void;
  facts(rows: readonly (readonly [name: string, value: string])[]): void;
  /** What the service said. */
  quote(text: string): void;
  lines(lines: readonly string[]): void;
  /** How many claims were checked. */
  checked(): number;
};

const indent = '     ';
const width = 108;

export const createNarrator = (terminal: Pick<Terminal, 'out' | 'colour'>): Narrator => {
  let steps = 0;
  let checks = 0;
  const line = (text: string): void => terminal.out(`${text}\n`);
  return {
    title: (text, remark) => line(`\n${styled(terminal, 'bold', text)}  ${styled(terminal, 'dim', remark)}`.trimEnd()),
    step: (title) => {
      steps += 1;
      line(`\n${styled(terminal, 'bold', `${String(steps).padStart(3)}  ${title}`)}`);
    },
    check: (claim, holds) => {
      if (!holds) throw new Error(`This should be so, and is not: ${claim}`);
      checks += 1;
      line(`${indent}${styled(terminal, 'green', '✓')} ${claim}`);
    },
    facts: (rows) =>
      terminal.out(
        table(
          rows.map((cells) => cells.map(printable)),
          indent,
        ),
      ),
    quote: (text) => {
      for (const part of wrap(printable(text))) line(`${indent}${styled(terminal, 'dim', `  ${part}`)}`);
    },
    lines: (lines) => {
      for (const text of lines) line(`${indent}${text}`);
    },
    checked: () => checks,
  };
};

const wrap = (text: string): readonly string[] => {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    if (current !== '' && current.length + word.length >= width) {
      lines.push(current);
      current = word;
    } else {
      current = current === '' ? word : `${current} ${word}`;
    }
  }
  return [...lines, current];
};

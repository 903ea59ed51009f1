/** One line of the benchmark: a figure against a baseline from the same run, so that a noisy machine cancels out. */
export type Row = {
  readonly name: string;
  /** What was measured, with its unit: `412 us`. */
  readonly figure: string;
  /** What it is held against. */
  readonly baseline: string;
  /** figure / baseline, or the figure itself where the bar is absolute. */
  readonly ratio: number;
  /** The bar in words: `>= 0.7`, `<= 1/100`. */
  readonly bar: string;
  /** Undefined when it could not be measured here. */
  readonly holds: boolean | undefined;
  /** Where the rest goes, or why it could not be measured. */
  readonly note: string;
};

export const atLeast = (ratio: number, bar: number): boolean => ratio >= bar;
export const atMost = (ratio: number, bar: number): boolean => ratio <= bar;

/** A row for which a peer program is missing. */
export const unmeasured = (name: string, bar: string, why: string): Row => ({
  name,
  figure: '-',
  baseline: '-',
  ratio: Number.NaN,
  bar,
  holds: undefined,
  note: why,
});

const verdict = (row: Row): string => (row.holds === undefined ? 'not measured' : row.holds ? 'holds' : 'MISSED');

/** The rows as a table for people. */
export const formatRows = (rows: readonly Row[]): string => {
  const cells = [
    ['what', 'figure', 'baseline', 'ratio', 'bar', ''],
    ...rows.map((row) => [
      row.name,
      row.figure,
      row.baseline,
      Number.isNaN(row.ratio) ? '-' : row.ratio.toPrecision(3),
      row.bar,
      verdict(row),
    ]),
  ];
  const widths = cells[0]?.map((_, column) => Math.max(...cells.map((line) => line[column]?.length ?? 0))) ?? [];
  const lines = cells.map((line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const notes = rows.filter((row) => row.note !== '').map((row) => `  ${row.name}: ${row.note}`);
  return [...lines, '', ...notes].join('\n');
};

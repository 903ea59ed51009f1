import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
import { visibleJson } from '../codec/visible-json.ts';
import type { Input, Terminal } from './command.ts';

/** Was `--output json` asked for? */
export const wantsJson = (input: Input): boolean => input.text('output') === 'json';

/** Anything as JSON text, indented, without control characters. */
export const jsonText = (value: unknown): string => `${visibleJson(JSON.stringify(value, undefined, 2))}\n`;

/** A message of the contract as JSON text, every field present: what REST answers with. */
export const messageJson = <D extends DescMessage>(schema: D, message: MessageShape<D>): string =>
  `${JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }), undefined, 2)}\n`;

/** Columns: every cell padded to the widest of its column, the last one left as it is. */
export const table = (rows: readonly (readonly string[])[], indent = ''): string => {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return rows
    .map((row) => {
      const cells = row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0)));
      return `${indent}${cells.join('  ')}`.trimEnd();
    })
    .map((line) => `${line}\n`)
    .join('');
};

/**
 * Text that came from elsewhere (a registry, a token) without control characters: it must not move the cursor of the
 * terminal it is shown on.
 */
export const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '?');

type Style = 'bold' | 'dim' | 'green' | 'red';
const codes: Readonly<Record<Style, string>> = { bold: '1', dim: '2', green: '32', red: '31' };

/** The text in a style, where the terminal takes colours. */
export const styled = (terminal: Pick<Terminal, 'colour'>, style: Style, text: string): string =>
  terminal.colour ? `\x1b[${codes[style]}m${text}\x1b[0m` : text;

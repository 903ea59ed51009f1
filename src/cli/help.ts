import type { Command, Entry, Option } from './command.ts';
import { exitCodeMeanings } from './exit-codes.ts';

const width = 100;
const column = 30;

/** The help of one command. */
export const commandHelp = (command: Command): string => {
  const groups = new Map<string, Option[]>();
  for (const option of command.options) {
    const heading = option.group ?? 'Options';
    groups.set(heading, [...(groups.get(heading) ?? []), option]);
  }
  const sections = [
    `countersign ${command.name}: ${command.summary}`,
    section(
      'Usage',
      command.usage.map((line) => `  ${`countersign ${command.name} ${line}`.trimEnd()}`),
    ),
    ...(command.about ?? []).map((paragraph) => wrap(paragraph, 0).join('\n')),
    ...[...groups].map(([heading, options]) => section(heading, options.flatMap(optionHelp))),
    exitCodes(),
    ...(command.examples === undefined
      ? []
      : [
          section(
            'Examples',
            command.examples.map((line) => `  ${line}`),
          ),
        ]),
  ];
  return `${sections.join('\n\n')}\n`;
};

/** The help of the program, or of a group of commands (`keys`). */
export const overview = (entries: readonly Entry[], group?: string): string => {
  const title = group === undefined ? 'countersign: cosign as a service' : `countersign ${group}`;
  const longest = Math.max(...entries.map((entry) => entry.name.length));
  const lines = entries.map((entry) => `  ${entry.name.padEnd(longest + 3)}${entry.summary}`);
  const usage = group === undefined ? 'COMMAND' : `${group} COMMAND`;
  const more = `Run 'countersign ${usage} --help' for the options of one command.`;
  const sections = [title, section('Usage', [`  countersign ${usage} [options]`]), section('Commands', lines)];
  return `${[...sections, ...(group === undefined ? [exitCodes()] : []), more].join('\n\n')}\n`;
};

const section = (heading: string, lines: readonly string[]): string => [`${heading}:`, ...lines].join('\n');

const exitCodes = (): string =>
  section(
    'Exit codes',
    exitCodeMeanings.flatMap(([code, meaning]) => row(String(code), meaning, 6)),
  );

const optionHelp = (option: Option): readonly string[] => {
  const short = option.short === undefined ? '' : `-${option.short}, `;
  const value = option.type === 'flag' ? '' : ` ${option.value ?? 'VALUE'}`;
  const notes = [
    option.choices === undefined ? '' : `one of ${option.choices.join(', ')}`,
    option.default === undefined ? '' : `default ${option.default}`,
    option.type === 'list' ? 'may be repeated' : '',
    option.env === undefined ? '' : `env ${option.env}`,
  ].filter((note) => note !== '');
  const text = notes.length === 0 ? option.help : `${option.help} (${notes.join('; ')})`;
  return row(`${short}--${option.name}${value}`, text, column);
};

const row = (label: string, text: string, indent: number): readonly string[] => {
  const lines = wrap(text, indent);
  const first = `  ${label}`;
  if (first.length > indent - 2) return [first, ...lines.map((line) => ' '.repeat(indent) + line)];
  return lines.map((line, index) => (index === 0 ? first.padEnd(indent) : ' '.repeat(indent)) + line);
};

const wrap = (text: string, indent: number): readonly string[] => {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > width - indent) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
};

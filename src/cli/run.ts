import { type Entry, type Terminal, UsageError } from './command.ts';
import { exitCode } from './exit-codes.ts';
import { describeFailure } from './failure.ts';
import { commandHelp, overview } from './help.ts';
import { parseInput } from './parse.ts';
import { didYouMean } from './suggest.ts';

/** Runs one command line (without `node` and the script) and answers its exit code; never rejects. */
export const run = async (entries: readonly Entry[], argv: readonly string[], terminal: Terminal): Promise<number> => {
  const [first] = argv;
  if (first === undefined) {
    terminal.err(overview(entries));
    return exitCode.usage;
  }
  if (first === 'help') return help(entries, argv.slice(1), terminal);
  if (first === '--help' || first === '-h') return help(entries, [], terminal);
  const words = first === '--version' || first === '-V' ? ['version', ...argv.slice(1)] : argv;
  const found = find(entries, words);
  if (found === undefined) return unknown(entries, words, terminal);
  const name = found.entry.name;
  try {
    const command = await found.entry.load();
    if (asksForHelp(found.rest)) {
      terminal.out(commandHelp(command));
      return exitCode.ok;
    }
    return await command.run(parseInput(command, found.rest, terminal.env), terminal);
  } catch (caught) {
    const failure = describeFailure(caught, name);
    if (wantsJson(found.rest)) terminal.out(failure.json);
    terminal.err(failure.text);
    return failure.exitCode;
  }
};

type Found = { readonly entry: Entry; readonly rest: readonly string[] };

/** Two words name a command of a group (`keys list`), one any other. */
const find = (entries: readonly Entry[], argv: readonly string[]): Found | undefined => {
  for (const count of [2, 1]) {
    const name = argv.slice(0, count).join(' ');
    const entry = entries.find((candidate) => candidate.name === name);
    if (entry !== undefined) return { entry, rest: argv.slice(count) };
  }
  return undefined;
};

const groupOf = (entries: readonly Entry[], word: string): readonly Entry[] =>
  entries.filter((entry) => entry.name.startsWith(`${word} `));

const help = async (entries: readonly Entry[], words: readonly string[], terminal: Terminal): Promise<number> => {
  const found = find(entries, words);
  if (found !== undefined) {
    terminal.out(commandHelp(await found.entry.load()));
    return exitCode.ok;
  }
  const [group = ''] = words;
  const members = groupOf(entries, group);
  if (group !== '' && members.length === 0) return unknown(entries, words, terminal);
  terminal.out(members.length > 0 ? overview(members, group) : overview(entries));
  return exitCode.ok;
};

const unknown = (entries: readonly Entry[], argv: readonly string[], terminal: Terminal): number => {
  const [first = '', second] = argv;
  const members = groupOf(entries, first);
  if (members.length > 0) {
    if (second === '--help' || second === '-h') {
      terminal.out(overview(members, first));
      return exitCode.ok;
    }
    const names = members.map((entry) => entry.name.slice(first.length + 1));
    const complaint =
      second === undefined ? '' : `There is no '${first} ${second}'.${didYouMean(second, names, `${first} `)}\n\n`;
    terminal.err(`${complaint}${overview(members, first)}`);
    return exitCode.usage;
  }
  const names = [...new Set(entries.flatMap((entry) => [entry.name, entry.name.split(' ')[0] ?? '']))];
  const message = new UsageError(`There is no command '${first}'.${didYouMean(first, names)}`).message;
  terminal.err(`${message}\n\n${overview(entries)}`);
  return exitCode.usage;
};

const asksForHelp = (args: readonly string[]): boolean => {
  const end = args.indexOf('--');
  const options = end === -1 ? args : args.slice(0, end);
  return options.includes('--help') || options.includes('-h');
};

/** Seen before parsing, so that a wrong command line is reported in the form that was asked for as well. */
const wantsJson = (args: readonly string[]): boolean =>
  args.includes('--output=json') || args.some((arg, index) => arg === '--output' && args[index + 1] === 'json');

import { parseArgs } from 'node:util';
import { type Command, type Input, type Option, UsageError } from './command.ts';
import { didYouMean } from './suggest.ts';

/**
 * Arguments after the command's name -> Input. An option that is absent is taken from its environment variable, then
 * from its default. Throws UsageError for an unknown option, a repeated one that is no list, a value that is none of the
 * choices.
 */
export const parseInput = (
  command: Pick<Command, 'options'>,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Input => {
  const byName = new Map(command.options.map((option) => [option.name, option]));
  const { values, positionals } = parseTokens(command.options, args);
  const silenced = rivalsGiven(command.options, values);
  const found = new Map<string, readonly string[]>();
  for (const option of byName.values()) {
    const given = values.get(option.name) ?? (silenced.has(option.rivals) ? [] : fallback(option, env));
    for (const value of given) checkChoice(option, value);
    found.set(option.name, given);
  }
  const known = (name: string): readonly string[] => {
    const given = found.get(name);
    if (given === undefined) throw new Error(`the command has no option --${name}`);
    return given;
  };
  return {
    positionals,
    text: (name) => known(name)[0],
    list: known,
    flag: (name) => known(name)[0] === 'true',
  };
};

/** The words of which an option is given in the arguments. Throws UsageError for two of one word. */
const rivalsGiven = (options: readonly Option[], values: Tokens['values']): ReadonlySet<string | undefined> => {
  const given = new Map<string, string>();
  for (const { name, rivals } of options) {
    if (rivals === undefined || !values.has(name)) continue;
    const other = given.get(rivals);
    if (other !== undefined) throw new UsageError(`Only one of --${other} and --${name} can be used.`);
    given.set(rivals, name);
  }
  return new Set(given.keys());
};

type Tokens = { readonly values: ReadonlyMap<string, readonly string[]>; readonly positionals: readonly string[] };

const parseTokens = (options: readonly Option[], args: readonly string[]): Tokens => {
  const config = Object.fromEntries(
    options.map((option) => [
      option.name,
      {
        type: option.type === 'flag' ? ('boolean' as const) : ('string' as const),
        multiple: option.type !== 'flag',
        ...(option.short === undefined ? {} : { short: option.short }),
      },
    ]),
  );
  const parsed = wording(options, () =>
    parseArgs({ args: [...args], options: config, allowPositionals: true, strict: true, tokens: true }),
  );
  const values = new Map<string, string[]>();
  for (const token of parsed.tokens) {
    if (token.kind !== 'option') continue;
    const given = values.get(token.name) ?? [];
    values.set(token.name, [...given, token.value ?? 'true']);
  }
  for (const option of options) {
    if (option.type === 'text' && (values.get(option.name) ?? []).length > 1) {
      throw new UsageError(`--${option.name} may be given only once.`);
    }
  }
  return { values, positionals: parsed.positionals };
};

/** Runs parseArgs and says its complaints in our words. */
const wording = <T>(options: readonly Option[], parse: () => T): T => {
  try {
    return parse();
  } catch (caught) {
    if (!(caught instanceof Error)) throw caught;
    const unknown = /^Unknown option '--?([^']+)'/.exec(caught.message)?.[1];
    if (unknown !== undefined) {
      const names = options.map((option) => option.name);
      throw new UsageError(`There is no option --${unknown}.${didYouMean(unknown, names, '--')}`);
    }
    const sentence = caught.message.split('\n')[0] ?? 'the options cannot be read';
    throw new UsageError(`${sentence.replace(/\.$/, '')}.`);
  }
};

const fallback = (option: Option, env: Readonly<Record<string, string | undefined>>): readonly string[] => {
  const value = option.env === undefined ? undefined : env[option.env];
  if (value === undefined || value === '') return option.default === undefined ? [] : [option.default];
  if (option.type !== 'flag') return [value];
  if (/^(1|true|yes)$/i.test(value)) return ['true'];
  if (/^(0|false|no)$/i.test(value)) return [];
  throw new UsageError(`${option.env} must be true or false.`);
};

const checkChoice = (option: Option, value: string): void => {
  if (option.choices === undefined || option.choices.includes(value)) return;
  throw new UsageError(
    `--${option.name} must be one of ${option.choices.join(', ')}.${didYouMean(value, option.choices)}`,
  );
};

/** One option of a command; parsing and `--help` both come from this. */
export type Option = {
  /** Long name, without the dashes. */
  readonly name: string;
  readonly short?: string;
  /** `list` may be given several times; the others once. */
  readonly type: 'text' | 'flag' | 'list';
  /** What the value is called in the help. */
  readonly value?: string;
  readonly help: string;
  /** The environment variable that is asked when the option is absent. */
  readonly env?: string;
  readonly default?: string;
  readonly choices?: readonly string[];
  /** Of the options that share this word one is used: given in the arguments, it silences the environment of the others. */
  readonly rivals?: string;
  /** Heading in the help; `Options` when undefined. */
  readonly group?: string;
};

/** A parsed command line: every option by its long name, environment and defaults already applied. */
export type Input = {
  readonly positionals: readonly string[];
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  flag(name: string): boolean;
};

/** Where a command reads and writes; tests bring their own. */
export type Terminal = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Results. */
  out(text: string): void;
  /** Errors and remarks. */
  err(text: string): void;
  /** Shows what is being waited for, on an interactive terminal only; answers how to take it away again. */
  progress(text: string): () => void;
  /** May results be coloured? */
  readonly colour: boolean;
};

export type Command = {
  /** `sign`, `keys list` */
  readonly name: string;
  readonly summary: string;
  /** Usage lines, without `countersign <name>`. */
  readonly usage: readonly string[];
  /** Paragraphs between usage and options. */
  readonly about?: readonly string[];
  readonly options: readonly Option[];
  readonly examples?: readonly string[];
  /** Answers the exit code. Throws UsageError, or CountersignError for what the service or a file refuses. */
  run(input: Input, terminal: Terminal): Promise<number>;
};

/** A command in the list of all: cheap until it is loaded. */
export type Entry = {
  readonly name: string;
  readonly summary: string;
  load(): Promise<Command>;
};

/** The command line itself is wrong; `message` says what to write instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

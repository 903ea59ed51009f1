import type { Terminal } from './command.ts';

type Stream = { readonly isTTY?: boolean; write(text: string): unknown };
type Process = {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly stdout: Stream;
  readonly stderr: Stream;
};

/** The terminal of a process: progress only where a person watches (a TTY, not CI), colour only where it is wanted. */
export const processTerminal = (from: Process): Terminal => {
  const { env, stdout, stderr } = from;
  const watched = stderr.isTTY === true && (env['CI'] ?? '') === '' && env['TERM'] !== 'dumb';
  return {
    env,
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    progress: (text) => {
      if (!watched) return () => undefined;
      stderr.write(`\x1b[2m${text} ...\x1b[0m`);
      return () => void stderr.write('\r\x1b[2K');
    },
    colour: stdout.isTTY === true && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
  };
};

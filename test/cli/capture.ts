import type { Terminal } from '../../src/cli/command.ts';
import { clientEntries } from '../../src/cli/entries.ts';
import { run } from '../../src/cli/run.ts';

export type Captured = { readonly code: number; readonly out: string; readonly err: string };

/** Runs one command line in this process, with this environment only. */
export const capture = async (
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Captured> => {
  let out = '';
  let err = '';
  const terminal: Terminal = {
    env,
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    progress: () => () => undefined,
    colour: false,
  };
  const code = await run(clientEntries, argv, terminal);
  return { code, out, err };
};

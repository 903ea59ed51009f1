import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const mainPath = join(import.meta.dirname, '..', '..', 'src', 'countersign.js');

export type LogEntry = { readonly msg?: string; readonly [name: string]: unknown };

export type ServeProcess = {
  readonly child: ChildProcess;
  /** `host:port` */
  readonly grpc: string;
  readonly rest: string;
  readonly admin: string;
  /** Everything that it wrote to stderr so far. */
  log(): string;
  /** Resolves with the log entry of this message, past or future. */
  logged(message: string): Promise<LogEntry>;
  /** Resolves when it has ended: its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Ends it if it still runs. */
  kill(): void;
};

/** Runs `countersign serve` as a child process and waits until it serves. `env` is its whole environment, besides PATH. */
export const startServe = async (
  configPath: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ServeProcess> => {
  const child = spawn(process.execPath, [mainPath, 'serve', '--config', configPath], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const entries: LogEntry[] = [];
  let text = '';
  const waiting = new Set<(entry: LogEntry) => void>();
  createInterface({ input: child.stderr }).on('line', (line) => {
    text += `${line}\n`;
    const entry: LogEntry = line.startsWith('{') ? JSON.parse(line) : { msg: line };
    entries.push(entry);
    for (const tell of waiting) tell(entry);
  });
  const logged = (message: string): Promise<LogEntry> =>
    new Promise((resolve, reject) => {
      const found = entries.find(({ msg }) => msg === message);
      if (found !== undefined) return resolve(found);
      const tell = (entry: LogEntry): void => {
        if (entry.msg !== message) return;
        waiting.delete(tell);
        resolve(entry);
      };
      waiting.add(tell);
      void ended.then((how) => reject(new Error(`it ended (${how}) without saying '${message}':\n${text}`)));
    });
  const { grpc, rest, admin } = await logged('countersign serves');
  return {
    child,
    grpc: String(grpc),
    rest: String(rest),
    admin: String(admin),
    log: () => text,
    logged,
    ended,
    kill: () => void child.kill('SIGKILL'),
  };
};

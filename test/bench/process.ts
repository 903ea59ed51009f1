import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';

/** A Node process of ours under measurement. */
export type Measured = {
  readonly pid: number;
  /** CPU seconds, user and system, used so far (clock ticks of 10 ms). */
  cpuSeconds(): number;
  /** Resident memory, MiB. */
  residentMiB(): number;
  /** The JSON that the process printed in its first line. */
  readonly hello: Record<string, unknown>;
  stop(): Promise<void>;
};

/** `/proc/PID/stat` fields 14 and 15 are user and system time in ticks of 1/100 s. */
const cpuSecondsOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

const residentMiBOf = (pid: number): number => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? 0) / 1024;
};

/** Starts `node <args>` and waits for the first line of its standard output, which must be JSON. */
export const startMeasured = async (args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Measured> => {
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const hello = JSON.parse(await firstLine(child)) as Record<string, unknown>;
  const pid = child.pid ?? 0;
  return {
    pid,
    hello,
    cpuSeconds: () => cpuSecondsOf(pid),
    residentMiB: () => residentMiBOf(pid),
    stop: async () => {
      if (child.exitCode !== null) return;
      child.kill('SIGTERM');
      await once(child, 'exit');
    },
  };
};

const firstLine = (child: ChildProcess): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = '';
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the process ended with ${code} before it said anything`)));
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
    });
  });

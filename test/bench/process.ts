import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';

/** A Node process of ours under measurement. */
export type Measured = {
  readonly pid: number;
  /** CPU seconds, user and system, used so far: to the nanosecond where the kernel counts them, or else in ticks of 10 ms. */
  cpuSeconds(): number;
  /** Resident memory, in 10^6 bytes. */
  residentMB(): number;
  ended(): boolean;
  /** The first line that it prints on standard output. */
  firstLine(): Promise<string>;
  stop(): Promise<void>;
};

/** Fields 14 and 15 of `/proc/PID/stat`: user and system time in ticks of 1/100 s, those of threads that have ended included. */
const ticksOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

/**
 * The first field of `/proc/PID/task/TID/schedstat`: nanoseconds on a CPU. A thread that has ended counts with what was last
 * seen of it. What it used after that is missing, so the ticks, which are never too many either, are taken where they are more.
 */
const cpuClock = (pid: number): (() => number) => {
  const seen = new Map<string, number>();
  return () => {
    for (const thread of threadsOf(pid)) seen.set(thread, nanosecondsOf(pid, thread) ?? seen.get(thread) ?? 0);
    const seconds = [...seen.values()].reduce((sum, nanoseconds) => sum + nanoseconds, 0) / 1e9;
    return Math.max(seconds, ticksOf(pid));
  };
};

const threadsOf = (pid: number): readonly string[] => readdirSync(`/proc/${pid}/task`);

/** Undefined when the thread has ended, or the kernel does not count. */
const nanosecondsOf = (pid: number, thread: string): number | undefined => {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
  } catch {
    return undefined;
  }
};

const residentMBOf = (pid: number): number => {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return (Number(line?.[1] ?? 0) * 1024) / 1e6;
};

/** Starts `node <args>`; what it says on standard error goes to ours. */
export const startMeasured = (args: readonly string[]): Measured => {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const pid = child.pid ?? 0;
  return {
    pid,
    cpuSeconds: cpuClock(pid),
    residentMB: () => residentMBOf(pid),
    ended: () => child.exitCode !== null || child.signalCode !== null,
    firstLine: () => firstLine(child),
    stop: async () => {
      if (child.exitCode !== null) return;
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
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

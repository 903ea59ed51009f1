import { execFile } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Why processes cannot be kept on cores of their own here; undefined when they can. */
export const coresMissing = async (): Promise<string | undefined> => {
  if (availableParallelism() < 2) return 'this machine has one core';
  return run('taskset', ['--version']).then(
    () => undefined,
    () => 'absent: taskset (util-linux)',
  );
};

const keep = (pid: number, cores: string): Promise<unknown> =>
  run('taskset', ['--all-tasks', '--cpu-list', '--pid', cores, String(pid)]);

/** All threads of a process on the first core, now and later. */
export const onFirstCore = (pid: number): Promise<unknown> => keep(pid, '0');

/** Runs something while this process, and what it starts meanwhile, leave the first core to others. */
export const besideFirstCore = async <T>(work: () => Promise<T>): Promise<T> => {
  const last = availableParallelism() - 1;
  await keep(process.pid, `1-${last}`);
  try {
    return await work();
  } finally {
    await keep(process.pid, `0-${last}`);
  }
};

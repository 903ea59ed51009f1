import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LoadOrder, LoadResult } from './load.ts';
import type { Measured } from './process.ts';

export type LoadReport = LoadResult & {
  /** CPU that the server used per call, microseconds. */
  readonly serverCpuUs: number;
};

/** Runs the load generator against a measured server; throws when a call failed. */
export const generateLoad = async (order: LoadOrder, server: Measured): Promise<LoadReport> => {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'load.ts'), JSON.stringify(order)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'exit');
  let cpuAtStart = 0;
  let result: LoadResult | undefined;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'warm') cpuAtStart = server.cpuSeconds();
    else result = JSON.parse(line) as LoadResult;
  }
  const cpu = server.cpuSeconds() - cpuAtStart;
  await exit;
  if (result === undefined) throw new Error('the load generator printed no result');
  if (result.errors > 0) throw new Error(`${result.errors} of ${result.calls} calls failed`);
  return { ...result, serverCpuUs: (cpu / result.calls) * 1e6 };
};

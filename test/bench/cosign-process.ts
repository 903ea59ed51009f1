import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { isolated, peerPath, type PeerName } from '../peers/peer.ts';
import { keyPassword } from '../peers/cosign.ts';

/** One whole process of cosign. */
export type ProcessCost = { readonly cpuSeconds: number; readonly wallSeconds: number };

const run = promisify(execFile);

/** The arguments of a signature by a key alone, up to the key. */
export const cosignSign: readonly string[] = [
  'sign',
  '--tlog-upload=false',
  '--use-signing-config=false',
  '--yes',
  '--key',
];

/**
 * Runs cosign `times` times, after once for warmth (round 0), and answers the median of what a process cost, as bash's `time`
 * counts it. `args`: the same each time, or by the round.
 */
export const costOfCosign = async (
  peer: PeerName,
  args: readonly string[] | ((round: number) => readonly string[]),
  times: number,
  env: Readonly<Record<string, string>> = {},
): Promise<ProcessCost> => {
  const program = peerPath(peer);
  if (program === undefined) throw new Error(`${peer} is absent`);
  const environment = isolated({ COSIGN_PASSWORD: keyPassword, ...env });
  const costs: ProcessCost[] = [];
  for (let round = 0; round <= times; round += 1) {
    const script = `TIMEFORMAT='%U %S %R'; time "$0" "$@" >/dev/null 2>&1 || exit 1`;
    const { stderr } = await run(
      'bash',
      ['-c', script, program, ...(typeof args === 'function' ? args(round) : args)],
      { env: environment },
    );
    const [user = 0, system = 0, wall = 0] = stderr.trim().split(/\s+/).map(Number);
    if (round > 0) costs.push({ cpuSeconds: user + system, wallSeconds: wall });
  }
  const median = (of: (cost: ProcessCost) => number): number =>
    costs.map(of).toSorted((a, b) => a - b)[Math.floor(costs.length / 2)] ?? Number.NaN;
  return { cpuSeconds: median((cost) => cost.cpuSeconds), wallSeconds: median((cost) => cost.wallSeconds) };
};

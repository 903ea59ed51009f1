import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type KeyPair, keyPassword } from '../peers/cosign.ts';
import { isolated, peerPath } from '../peers/peer.ts';

/** What cosign's own packages achieve when one process signs and pushes with them. */
export type LibraryFigures = {
  readonly perSecond: number;
  /** CPU a signature. */
  readonly cpuMs: number;
  /** All that were made, those of the warm-up included. */
  readonly signatures: number;
};

const run = promisify(execFile);

/** Runs the program of `cosign-library/` with one thread for Go, on the first core, with `lanes` signatures under way, on the images in turn. */
export const cosignLibrary = async (
  keyPair: KeyPair,
  refs: readonly string[],
  lanes: number,
  seconds: number,
): Promise<LibraryFigures> => {
  const program = peerPath('cosign-library');
  if (program === undefined) throw new Error('cosign-library is absent');
  const flags = ['-key', keyPair.privateKey, '-lanes', String(lanes), '-seconds', String(seconds)];
  const { stdout } = await run('taskset', ['--cpu-list', '0', program, ...flags, ...refs], {
    env: isolated({ COSIGN_PASSWORD: keyPassword, GOMAXPROCS: '1' }),
    // It says "Signing artifact..." for each signature.
    maxBuffer: 64 * 1024 * 1024,
  });
  const done = JSON.parse(stdout) as {
    signatures: number;
    warmup: number;
    seconds: number;
    cpuSeconds: number;
  };
  return {
    perSecond: done.signatures / done.seconds,
    cpuMs: (done.cpuSeconds / done.signatures) * 1000,
    signatures: done.warmup + done.signatures,
  };
};

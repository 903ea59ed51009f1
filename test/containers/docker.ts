// The docker command line: every exit status is looked at.
import { execFile } from 'node:child_process';

/** Is the daemon the private, offline one of `with-daemon`? Then images are made here; else they are pulled. */
export const imagesAreLocal: boolean = process.env.COUNTERSIGN_IMAGES === 'local';

/**
 * Runs `docker` and answers what it printed. Throws with the end of its output when it fails.
 * `input` goes to its standard input.
 */
export const docker = (args: readonly string[], input = ''): Promise<string> =>
  new Promise((done, failed) => {
    // The offline machine's docker has no BuildKit: only the classic builder.
    const env = imagesAreLocal ? { ...process.env, DOCKER_BUILDKIT: '0' } : process.env;
    const child = execFile('docker', args, { env, maxBuffer: 64 << 20, timeout: 600_000 }, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else failed(new Error(`docker ${args[0]}: ${error.message}\n${`${stdout}\n${stderr}`.slice(-4000)}`));
    });
    child.stdin?.on('error', () => undefined); // docker may end without reading it
    child.stdin?.end(input);
  });

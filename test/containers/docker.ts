// The docker command line: every exit status is looked at.
import { execFile } from 'node:child_process';

/** Is the daemon the private, offline one of `with-daemon`? Then images are made here; else they are pulled. */
export const imagesAreLocal: boolean = process.env.COUNTERSIGN_IMAGES === 'local';

// The offline machine's docker has no BuildKit: only the classic builder.
const env = imagesAreLocal ? { ...process.env, DOCKER_BUILDKIT: '0' } : process.env;

/** Runs `docker` and answers what it printed. Throws with the end of its output when it fails. */
export const docker = (args: readonly string[]): Promise<string> => run('docker', args);

/**
 * Makes an image of one layer: what lies in `folder`, links followed, owned by root. `settings` are lines of a Dockerfile.
 * Cheaper than a build, which would copy everything three times more.
 */
export const imageOf = async (tag: string, folder: string, settings: readonly string[]): Promise<void> => {
  const tar = 'tar --dereference --owner=0 --group=0 --numeric-owner --directory="$1" --create .';
  const changes = settings.flatMap((line) => ['--change', line]);
  await run('bash', [
    '-c',
    `set -o pipefail; ${tar} | docker import "\${@:3}" - "$2"`,
    'bash',
    folder,
    tag,
    ...changes,
  ]);
};

const run = (program: string, args: readonly string[]): Promise<string> =>
  new Promise((done, failed) => {
    execFile(program, args, { env, maxBuffer: 64 << 20, timeout: 600_000 }, (error, stdout, stderr) => {
      if (error === null) done(stdout);
      else failed(new Error(`${program} ${args[0]}: ${error.message}\n${`${stdout}\n${stderr}`.slice(-4000)}`));
    });
  });

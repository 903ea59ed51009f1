// Everything that needs a Docker daemon, in one process, so that each image is made once.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { docker } from './docker.ts';

const reachable = await docker(['version']).then(
  () => true,
  () => false,
);
if (reachable || process.env['DOCKER_HOST'] !== undefined) {
  const { imageSuite } = await import('./image-suite.ts');
  const { composeSuite } = await import('./compose-suite.ts');
  imageSuite();
  composeSuite();
} else {
  // Once more, this file, beside a private daemon; the test runner that started this process reads what that one reports.
  const [node = '', ...args] = process.argv;
  const child = spawn(join(import.meta.dirname, 'with-daemon'), [node, ...args], { stdio: 'inherit' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  const [status] = (await once(child, 'exit')) as [number | null];
  process.exitCode = status ?? 1;
}

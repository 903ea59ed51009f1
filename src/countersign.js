#!/usr/bin/env node
// The entry point of every command, and what `npm link` puts on the PATH. Plain JavaScript, since the Node.js that starts it
// may be too old to run TypeScript (then it runs again on the one that came as an npm package), and since the compile cache
// must be on before the first TypeScript file: with it nothing is stripped of types at a start, which saves 15 MB and 50 ms.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import module from 'node:module';
import os from 'node:os';
import { fileURLToPath } from 'node:url';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const program = process.platform === 'win32' ? 'node.exe' : 'node';
const bundled = fileURLToPath(
  new URL(`../node_modules/node-${process.platform}-${process.arch}/bin/${program}`, import.meta.url),
);

if (major > 24 || (major === 24 && minor >= 12)) {
  // Threads of the pool beyond the number of processors take turns with the event loop, and every request waits for that.
  process.env.UV_THREADPOOL_SIZE ??= String(Math.min(4, Math.max(2, os.availableParallelism())));
  module.enableCompileCache();
  await import('./main.ts');
} else if (existsSync(bundled)) {
  const again = [
    '--max-semi-space-size=16',
    '--initial-old-space-size=128',
    '--v8-pool-size=1',
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ];
  const child = spawn(bundled, again, { stdio: 'inherit' });
  // A terminal sends SIGINT to both; a second one, from here, would end a service that drains.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGKILL' ? 137 : 1)));
} else {
  process.stderr.write(`countersign needs Node.js 24.12 or newer, this is ${process.versions.node}.\n`);
  process.exit(78);
}

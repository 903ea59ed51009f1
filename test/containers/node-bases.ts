// Stand-ins for node:24-trixie-slim and distroless/nodejs24, made of this machine's own files where nothing can be pulled:
// the running Node with the libraries it needs; for builds also a shell, npm and npm's filled cache.
import { execFile } from 'node:child_process';
import { copyFile, cp, mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { docker } from './docker.ts';

const run = promisify(execFile);

/** Like distroless: Node at /nodejs/bin/node, the user nonroot, no shell. */
export const makeRuntimeBase = (tag: string): Promise<void> =>
  withFolder(async (folder) => {
    await copyProgram(folder, process.execPath, '/nodejs/bin/node');
    await put(folder, '/etc/passwd', 'root:x:0:0:root:/:\nnonroot:x:65532:65532:nonroot:/home/nonroot:\n');
    await put(folder, '/etc/group', 'root:x:0:\nnonroot:x:65532:\n');
    await mkdir(join(folder, 'home/nonroot'), { recursive: true });
    const lines = ['FROM scratch', 'COPY . /', 'USER 65532', 'WORKDIR /home/nonroot'];
    await docker(['build', '--tag', tag, '--file', '-', folder], `${lines.join('\n')}\n`);
  });

/** Adds sh, rm and npm; npm finds everything that the lockfile asks for in its cache, and never looks elsewhere. */
export const makeBuildBase = (tag: string, runtime: string): Promise<void> =>
  withFolder(async (folder) => {
    const cache = process.env['COUNTERSIGN_NPM_CACHE'];
    if (cache === undefined) throw new Error('COUNTERSIGN_NPM_CACHE is not set: run this through with-daemon');
    const npm = dirname(dirname(await realpath(await which('npm'))));
    // The cache is keyed by address, so the address that filled it must be asked again.
    const { stdout: registry } = await run('npm', ['config', 'get', 'registry'], { cwd: '/' });
    await copyProgram(folder, await which('sh'), '/bin/sh');
    await copyProgram(folder, await which('rm'), '/bin/rm');
    await cp(npm, join(folder, 'opt/npm'), { recursive: true, dereference: true });
    await cp(cache, join(folder, 'opt/npm-cache'), { recursive: true });
    await put(folder, '/bin/npm', '#!/bin/sh\nexec /nodejs/bin/node /opt/npm/bin/npm-cli.js "$@"\n', 0o755);
    const settings = `npm_config_offline=true npm_config_cache=/opt/npm-cache npm_config_registry=${registry.trim()}`;
    const lines = [`FROM ${runtime}`, 'COPY . /', 'USER 0', `ENV PATH=/bin:/nodejs/bin ${settings}`];
    await docker(['build', '--tag', tag, '--file', '-', folder], `${lines.join('\n')}\n`);
  });

const withFolder = async (work: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-image-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** A program and every library that `ldd` names, each at its own path. */
const copyProgram = async (folder: string, source: string, target: string): Promise<void> => {
  const { stdout } = await run('ldd', [source]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, path = '']) => path);
  for (const [from, to] of [[source, target], ...libraries.map((path) => [path, path])] as const) {
    await mkdir(dirname(join(folder, to)), { recursive: true });
    await copyFile(await realpath(from), join(folder, to));
  }
};

const put = async (folder: string, path: string, content: string, mode = 0o644): Promise<void> => {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content, { mode });
};

const which = async (name: string): Promise<string> => {
  const { stdout } = await run('/bin/sh', ['-c', 'command -v "$1"', 'sh', name]);
  return stdout.trim();
};

// Images where none can be pulled, made of this machine's own files: programs with the libraries that they need. Stand-ins for
// node:24-trixie-slim (with a shell, npm and npm's filled cache) and for distroless/nodejs24.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { imageOf } from './docker.ts';

const run = promisify(execFile);

/** One static program in /bin and nothing else. */
export const makeProgram = (tag: string, program: string): Promise<void> =>
  withFolder(async (folder) => {
    const path = `/bin/${basename(program)}`;
    await link(folder, program, path);
    await imageOf(tag, folder, [`ENTRYPOINT ["${path}"]`]);
  });

/** Like distroless: Node at /nodejs/bin/node, the user nonroot, no shell. */
export const makeRuntimeBase = (tag: string): Promise<void> =>
  withFolder(async (folder) => {
    await addNode(folder);
    await imageOf(tag, folder, ['USER 65532', 'WORKDIR /home/nonroot']);
  });

/** Node with sh, rm, chmod and npm; npm finds all that the lockfile asks for in its cache, and never looks elsewhere. */
export const makeBuildBase = (tag: string): Promise<void> =>
  withFolder(async (folder) => {
    const cache = process.env['COUNTERSIGN_NPM_CACHE'];
    if (cache === undefined) throw new Error('COUNTERSIGN_NPM_CACHE is not set: run this through with-daemon');
    // The cache is keyed by address, so the address that filled it must be asked again.
    const { stdout: registry } = await run('npm', ['config', 'get', 'registry'], { cwd: '/' });
    await addNode(folder);
    for (const name of ['sh', 'rm', 'chmod']) await addProgram(folder, await which(name), `/bin/${name}`);
    await link(folder, dirname(dirname(await realpath(await which('npm')))), '/opt/npm');
    await link(folder, cache, '/opt/npm-cache');
    await put(folder, '/bin/npm', '#!/bin/sh\nexec /nodejs/bin/node /opt/npm/bin/npm-cli.js "$@"\n', 0o755);
    const npm = `npm_config_offline=true npm_config_cache=/opt/npm-cache npm_config_registry=${registry.trim()}`;
    await imageOf(tag, folder, [`ENV PATH=/bin:/nodejs/bin ${npm}`]);
  });

const addNode = async (folder: string): Promise<void> => {
  await addProgram(folder, process.execPath, '/nodejs/bin/node');
  await put(folder, '/etc/passwd', 'root:x:0:0:root:/:\nnonroot:x:65532:65532:nonroot:/home/nonroot:\n');
  await put(folder, '/etc/group', 'root:x:0:\nnonroot:x:65532:\n');
  await mkdir(join(folder, 'home/nonroot'), { recursive: true });
};

const withFolder = async (work: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-image-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};

/** A program and every library that `ldd` names, each at its own path. */
const addProgram = async (folder: string, source: string, target: string): Promise<void> => {
  const { stdout } = await run('ldd', [source]);
  await link(folder, source, target);
  for (const [, library = ''] of stdout.matchAll(/(\/\S+) \(0x/g)) await link(folder, library, library);
};

/** What lies at `source` will lie at `target` in the image. Programs may share a library. */
const link = async (folder: string, source: string, target: string): Promise<void> => {
  const place = join(folder, target);
  await mkdir(dirname(place), { recursive: true });
  await rm(place, { force: true });
  await symlink(await realpath(source), place);
};

const put = async (folder: string, path: string, content: string, mode = 0o644): Promise<void> => {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), content, { mode });
};

const which = async (name: string): Promise<string> => {
  const { stdout } = await run('/bin/sh', ['-c', 'command -v "$1"', 'sh', name]);
  return stdout.trim();
};

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { openApi } from './openapi.ts';

const root = join(import.meta.dirname, '..');
const generated = join('src', 'gen');

/** buf and its plugin run on this very Node, wherever npm put it. */
const buf = (...args: string[]): Buffer =>
  execFileSync(process.execPath, [join(root, 'node_modules', '@bufbuild', 'buf', 'bin', 'buf'), ...args], {
    cwd: root,
    env: { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` },
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });

/** Writes everything that is generated from proto/ below `base`/src/gen. Needs no network; equal input, equal bytes. */
const generateInto = (base: string): void => {
  buf('generate', '--output', base);
  const image = buf('build', '--as-file-descriptor-set', '--output', '-');
  const folder = join(base, generated);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'openapi.json'), `${JSON.stringify(openApi(image), undefined, 2)}\n`);
};

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();

/** Files that differ between what lies in src/gen and what the proto gives now: changed, missing or left over. */
export const drift = (): string[] => {
  const base = mkdtempSync(join(tmpdir(), 'countersign-generate-'));
  try {
    generateInto(base);
    const [fresh, present] = [join(base, generated), join(root, generated)];
    const [freshFiles, presentFiles] = [filesBelow(fresh), filesBelow(present)];
    const differs = freshFiles.filter(
      (file) =>
        !presentFiles.includes(file) || !readFileSync(join(fresh, file)).equals(readFileSync(join(present, file))),
    );
    return [...differs, ...presentFiles.filter((file) => !freshFiles.includes(file))];
  } finally {
    rmSync(base, { recursive: true });
  }
};

if (import.meta.main) {
  if (process.argv[2] === '--check') {
    const files = drift();
    for (const file of files) console.error(`${join(generated, file)} is not what proto/ gives: run npm run generate`);
    process.exitCode = files.length === 0 ? 0 : 1;
  } else {
    generateInto(root);
  }
}

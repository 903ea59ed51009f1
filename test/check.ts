// npm run check: everything that can be judged without running the service. Every step runs, even after one has failed.
// npm run check -- --baseline: makes today's contract the one that `buf breaking` compares with.
import { execFile } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';

process.chdir(join(import.meta.dirname, '..'));

/** What a step found wrong; empty when all is well. */
type Step = { readonly name: string; run(): Promise<string> };

/** Runs a program of node_modules on this very Node; answers its output when it fails. */
const run = (script: string, ...args: readonly string[]): Promise<string> =>
  new Promise((resolve) => {
    const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}` };
    execFile(process.execPath, [script, ...args], { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve(error === null ? '' : `${stdout}${stderr}` || error.message);
    });
  });

const tsc = join('node_modules', 'typescript', 'bin', 'tsc');
const biome = join('node_modules', '@biomejs', 'biome', 'bin', 'biome');
const buf = join('node_modules', '@bufbuild', 'buf', 'bin', 'buf');

const baseline = join('proto', 'base.binpb');
const ownContract = ['--path', join('proto', 'countersign')];

const breaking = async (): Promise<string> => {
  if (!existsSync(baseline)) return `${baseline} is missing: make it with npm run check -- --baseline`;
  const folder = mkdtempSync(join(tmpdir(), 'check-'));
  try {
    const present = join(folder, 'present.binpb');
    return (
      (await run(buf, 'build', ...ownContract, '-o', present)) ||
      (await run(buf, 'breaking', present, '--against', baseline))
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const maxLines = 300;

const fileSizes = async (): Promise<string> =>
  globSync(['src/**/*.ts', 'test/**/*.ts', 'proto/*.ts'])
    .filter((file) => !file.startsWith(join('src', 'gen')))
    .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > maxLines)
    .map(({ file, lines }) => `${file} has ${lines} lines; at most ${maxLines} are allowed`)
    .join('\n');

const steps: readonly Step[] = [
  { name: 'types', run: () => run(tsc, '--project', '.') },
  { name: 'lint, import directions, cycles', run: () => run(biome, 'lint', '--error-on-warnings', '.') },
  { name: 'format', run: () => run(biome, 'format', '.') },
  { name: 'file sizes', run: fileSizes },
  { name: 'contract: buf lint', run: () => run(buf, 'lint') },
  { name: 'contract: buf breaking', run: breaking },
  { name: 'generated code is that of proto/', run: () => run(join('proto', 'generate.ts'), '--check') },
];

if (process.argv.includes('--baseline')) {
  const problem = await run(buf, 'build', ...ownContract, '--exclude-source-info', '-o', baseline);
  console.log(problem || `${baseline} holds the present contract`);
  process.exit(problem === '' ? 0 : 1);
}

for (const { name, run } of steps) {
  const started = performance.now();
  const problem = await run().catch((error: unknown) => String(error));
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${problem === '' ? 'ok  ' : 'FAIL'}  ${seconds.padStart(5)} s  ${name}`);
  if (problem === '') continue;
  console.log(problem.trimEnd().replace(/^/gm, '    '));
  process.exitCode = 1;
}

// npm test: the whole suite that needs npm alone. npm run test:peers: everything; absent peers then fail.
// Arguments besides --peers choose files: npm test -- test/audit/file.test.ts
import { globSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, resolve, sep } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { entryOf, grouped } from './together.ts';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  console.error(`The tests need Node.js 24.12 or newer, this is ${process.versions.node}: run them with npm test.`);
  process.exit(1);
}
const root = join(import.meta.dirname, '..');
process.chdir(root);

const withPeers = process.argv.includes('--peers');
const chosen = process.argv.slice(2).filter((argument) => argument !== '--peers');

/** Tests that need accounts of others run only when they are named: npm run test:cloud. */
const cloudFolder = join('test', 'cloud') + sep;
/** Tests in these folders need programs of others, or minutes. */
const peerFolders = ['peers', 'containers', 'bench'].map((folder) => join('test', folder) + sep);
const all = globSync('test/**/*.test.ts')
  .filter((file) => !file.startsWith(cloudFolder))
  .sort();
const files =
  chosen.length > 0
    ? chosen
    : all.filter((file) => withPeers || !peerFolders.some((folder) => file.startsWith(folder)));

/**
 * Those that need npm alone share processes, by folder. With peers, and when files are named, each has its own: so no file comes to
 * need what another has left behind.
 */
const cache = join(root, 'node_modules', '.cache');
const together = withPeers || chosen.length > 0 ? [] : grouped(files);
const entries = new Map(together.map((group) => [entryOf(group, join(cache, 'tests')), group]));
const programs = together.length > 0 ? [...entries.keys()] : files;

// For the processes of the test files: types are stripped once, not in each; absent peers are failures.
process.env['NODE_COMPILE_CACHE'] ??= join(cache, 'node');
if (withPeers) process.env['REQUIRE_PEERS'] = '1';

const minute = 60_000;
const testTimeoutMs = (withPeers ? 10 : 2) * minute;
const fileTimeoutMs = (withPeers ? 20 : 4) * minute;

/** A file whose tests are over but that something keeps running would never end: it is named, and all is ended. */
const hung = new AbortController();
const timers = new Map<string, NodeJS.Timeout>();
const stopWatching = (name: string): void => {
  clearTimeout(timers.get(name));
  timers.delete(name);
};
const watch = (name: string): void => {
  const timer = setTimeout(() => {
    process.exitCode = 1;
    // An Error: with any other reason node:test waits on.
    hung.abort(new Error(`${name} did not end within ${fileTimeoutMs / minute} minutes`));
  }, fileTimeoutMs);
  timers.set(name, timer.unref());
};

/** Programs, and the files in those that hold several. */
const isWatched = (name: string): boolean => [...programs, ...files].some((each) => resolve(each) === resolve(name));

/** Most of what npm alone can test waits for timers; the programs of others want the processor. */
const concurrency = withPeers ? 2 : Math.min(8, 3 * availableParallelism());
const tests = run({ files: programs, concurrency, timeout: testTimeoutMs, signal: hung.signal });
tests.on('test:dequeue', ({ name, nesting }) => nesting === 0 && isWatched(name) && watch(name));
const over = new Set<string>();
tests.on('test:complete', ({ name }) => {
  over.add(name);
  stopWatching(name);
});
tests.on('test:summary', ({ success }) => {
  if (!success) process.exitCode = 1;
});
for await (const text of tests.compose(new spec())) process.stdout.write(text);
if (hung.signal.aborted) {
  console.error(`\nAll was ended because ${hung.signal.reason.message}:`);
  console.error('a test of it hangs, or leaves open what keeps the process running.');
  const [, group] = [...entries].find(([entry]) => hung.signal.reason.message.startsWith(resolve(entry))) ?? [];
  const at = group?.files.find((file) => !over.has(file));
  if (at !== undefined) console.error(`It was at ${at}.`);
  else if (group !== undefined) console.error(`All of these were over:\n  ${group.files.join('\n  ')}`);
}

if (!withPeers && chosen.length === 0) {
  const { absentPeers } = await import('./peers/peer.ts');
  const absent = absentPeers();
  console.log('\nNot run here: the tests with programs of others (npm run test:peers).');
  if (absent.length > 0) {
    const width = Math.max(...absent.map(({ name }) => name.length));
    console.log('Absent from this machine, so not checked there either (test/peers/install brings them):');
    for (const { name, judges } of absent) console.log(`  ${name.padEnd(width)}  ${judges}`);
  }
  const { skipWithoutVectors } = await import('./vectors.ts');
  if (skipWithoutVectors !== false) console.log(`Signatures, bundles and documents of others: ${skipWithoutVectors}.`);
}

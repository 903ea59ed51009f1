// Test files that share a process: to start one and to load the service costs more than most files' tests, and what one file has
// made warm the next need not.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { after, suite } from 'node:test';
import { pathToFileURL } from 'node:url';

/** The files of one process, and how it is called. */
export type Group = { readonly name: string; readonly files: readonly string[] };

/** More in one process, which runs them one after the other, would be what all wait for in the end. */
const maxFiles = 8;
/** A file that holds this comment shares its process with none: for what is the process's own and cannot be put back. */
const alone = /^\/\/ Alone in its process: /m;

/** The files of a folder in groups, in their order; each file that wants to be alone in its own. The longest come first. */
export const grouped = (files: readonly string[]): readonly Group[] => {
  const text = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]));
  const isAlone = (file: string): boolean => alone.test(text.get(file) ?? '');
  const groups: Group[] = files.filter(isAlone).map((file) => ({ name: file, files: [file] }));
  const shared = files.filter((file) => !isAlone(file));
  for (const [folder, members = []] of Object.entries(Object.groupBy(shared, (file) => dirname(file)))) {
    const count = Math.ceil(members.length / maxFiles);
    const size = Math.ceil(members.length / count);
    for (let index = 0; index < count; index++) {
      const part = members.slice(index * size, (index + 1) * size);
      groups.push({ name: join(folder, count === 1 ? 'all' : `part ${index + 1} of ${count}`), files: part });
    }
  }
  const length = (group: Group): number => group.files.reduce((sum, file) => sum + (text.get(file) ?? '').length, 0);
  return groups.sort((one, next) => length(next) - length(one));
};

/**
 * Runs test files in this process, each in a suite of its name. The next is not imported before the tests of the one before are over,
 * so that nothing of two files runs at the same time. A file that cannot be imported fails as its suite. Modules that several files
 * import are there once: such a one has no hooks of its own.
 */
export const runTogether = async (files: readonly string[]): Promise<void> => {
  // What a test waits for may keep no process running; node:test sees to that only as long as the entry is not waiting itself.
  const running = setInterval(() => undefined, 60_000);
  const left: string[] = [];
  for (const file of files) {
    const before = process.getActiveResourcesInfo();
    await runOne(file);
    // What was written about it goes out first, lest the next one hang and this one be taken for it.
    await new Promise((resolve) => setImmediate(resolve));
    const more = added(before, process.getActiveResourcesInfo());
    if (more.length > 0) left.push(`${file}: ${more.join(', ')}`);
  }
  clearInterval(running);
  const tell = (): void =>
    console.error(`Something keeps this process. What was open after a file:\n${left.join('\n')}`);
  setTimeout(tell, 20_000).unref();
};

const runOne = (file: string): Promise<void> =>
  new Promise((over) => {
    void suite(file, async () => {
      try {
        await import(pathToFileURL(resolve(file)).href);
        // The last of its hooks.
        after(() => over());
      } catch (error) {
        over();
        throw error;
      }
    });
  });

const added = (before: readonly string[], now: readonly string[]): readonly string[] => {
  const rest = [...before];
  return now.filter((kind) => {
    const index = rest.indexOf(kind);
    if (index >= 0) rest.splice(index, 1);
    return index < 0;
  });
};

/** Writes, into a folder, the program that runs a group, and answers its path; that of a file alone is the file itself. */
export const entryOf = (group: Group, folder: string): string => {
  const [file = ''] = group.files;
  if (group.files.length === 1) return file;
  const entry = `${join(folder, group.name)}.mjs`;
  const here = JSON.stringify(pathToFileURL(import.meta.filename).href);
  mkdirSync(dirname(entry), { recursive: true });
  writeFileSync(entry, `import { runTogether } from ${here};\nawait runTogether(${JSON.stringify(group.files)});\n`);
  return entry;
};

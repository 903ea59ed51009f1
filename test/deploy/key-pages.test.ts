// The pages on keys: what they show as configuration is configuration, and the kinds they list are the kinds there are.
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { backends } from '../../src/keys/backends.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import { deployFolder } from './compose-file.ts';

const folder = join(deployFolder, 'keys');
const pages = globSync('*.md', { cwd: folder }).sort();
const read = (page: string): string => readFileSync(join(folder, page), 'utf8');

/** The YAML blocks of a page that have keys in them. */
const examples = (page: string): readonly unknown[] =>
  [...read(page).matchAll(/^```yaml\n([\s\S]*?)^```$/gm)]
    .map(([, text]): unknown => parse(text ?? ''))
    .flatMap((value) => (typeof value === 'object' && value !== null && 'keys' in value ? [value.keys] : []));

test('each kind that is not a file has a page, and the overview leads to it', () => {
  for (const kind of Object.keys(backends).filter((each) => each !== 'local')) {
    assert.ok(existsSync(join(folder, `${kind}.md`)), `deploy/keys/${kind}.md is missing`);
    assert.match(read('README.md'), new RegExp(`\\| \`${kind}\` \\|.*\\[${kind}\\.md\\]`));
  }
});

for (const page of pages) {
  test(`${page}: its examples are keys that load`, () => {
    const found = examples(page);
    assert.ok(found.length > 0, 'no example');
    for (const keys of found) {
      const kinds = keysSettings.parse(keys).map(({ kind }) => kind);
      if (page !== 'README.md') assert.ok(kinds.includes(basename(page, '.md') as (typeof kinds)[number]));
    }
  });

  test(`${page}: its links lead somewhere`, () => {
    for (const [, target] of read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)) {
      if (target !== undefined && !/^[a-z]+:/.test(target)) assert.ok(existsSync(join(folder, target)), target);
    }
  });
}

import { access } from 'node:fs/promises';
import { knownBy } from '../config/known.ts';
import { loadConfig } from '../config/load.ts';
import { isTestFile, type PolicyTestResult, runPolicyTests } from '../policy/test-file.ts';
import { readPolicyFiles } from '../policy/read-files.ts';
import { type Command, type Terminal, UsageError } from './command.ts';
import { outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { printable, styled, wantsJson } from './output.ts';

export const policyTest: Command = {
  name: 'policy test',
  summary: 'run the tests that lie beside policy files',
  usage: ['FILE... [options]'],
  about: [
    'All policy files together are the policy. The tests of rules.yaml are in rules.test.yaml; naming either brings the other. Exits with 10 when a test fails, with 6 when a file has mistakes.',
  ],
  options: [
    {
      name: 'config',
      short: 'c',
      type: 'text',
      value: 'FILE',
      help: 'a configuration: its policy files are tested as well, and rules may name only its keys and issuers',
    },
    outputOption,
  ],
  examples: ['countersign policy test policy/*.yaml'],
  run: async (input, terminal) => {
    const path = input.text('config');
    const config = path === undefined ? undefined : await loadConfig(path, terminal.env);
    const named = [...input.positionals, ...(config?.policy.files ?? [])];
    if (named.length === 0) throw new UsageError('Name the policy files, or a --config that does.');
    const files = await readPolicyFiles(await withCompanions(named));
    const results = runPolicyTests(files, knownBy(config));
    if (results.length === 0) throw new UsageError(`No test lies beside ${named.join(', ')}.`);
    terminal.out(wantsJson(input) ? `${JSON.stringify({ results }, undefined, 2)}\n` : resultsText(results, terminal));
    return results.every(({ passed }) => passed) ? exitCode.ok : exitCode.negative;
  },
};

/** The files, each with its test file or the policy file that it tests, where that exists; none twice. */
const withCompanions = async (paths: readonly string[]): Promise<readonly string[]> => {
  const all = new Set<string>();
  for (const path of paths) {
    all.add(path);
    const companion = isTestFile(path) ? path.replace(/\.test(\.ya?ml)$/, '$1') : path.replace(/(\.ya?ml)$/, '.test$1');
    const there = await access(companion).then(
      () => true,
      () => false,
    );
    if (there) all.add(companion);
  }
  return [...all];
};

const resultsText = (results: readonly PolicyTestResult[], terminal: Pick<Terminal, 'colour'>): string => {
  const lines = results.map((result) => {
    const word = result.passed ? styled(terminal, 'green', 'ok  ') : styled(terminal, 'red', 'FAIL');
    const where = `${result.file}:${result.line}`;
    const why = result.passed ? '' : `\n      ${printable(result.message)}`;
    return `${word}  ${printable(result.name)} (${where})${why}\n`;
  });
  const failed = results.filter(({ passed }) => !passed).length;
  return `${lines.join('')}${results.length} tests, ${failed} failed\n`;
};

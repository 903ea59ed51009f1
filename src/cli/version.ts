import { readFile } from 'node:fs/promises';
import type { Command } from './command.ts';
import { outputOption } from './connection-options.ts';
import { exitCode } from './exit-codes.ts';
import { wantsJson } from './output.ts';

export const version: Command = {
  name: 'version',
  summary: 'print the version of countersign and of Node.js',
  usage: ['[options]'],
  options: [outputOption],
  run: async (input, terminal) => {
    const manifest: unknown = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
    const own =
      typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : 'unknown';
    const facts = { version: own, node: process.versions.node, platform: `${process.platform}-${process.arch}` };
    terminal.out(
      wantsJson(input)
        ? `${JSON.stringify(facts, undefined, 2)}\n`
        : `countersign ${facts.version} (Node.js ${facts.node}, ${facts.platform})\n`,
    );
    return exitCode.ok;
  },
};

/*
 * npm run bench [-- --json] [-- --quick] [-- --strict] [-- --only sign,push,requests,vault,verify,keys,many-keys]
 *
 * Every figure stands beside a baseline from the same run. With --strict it exits 1 when a bar is missed; without, a noisy
 * machine fails nothing.
 */
import { parseArgs } from 'node:util';
import { keyRows } from './key-rows.ts';
import { manyKeysRows } from './many-keys-rows.ts';
import { pushRows } from './push-rows.ts';
import { requestRows } from './request-rows.ts';
import { formatRows, type Row } from './row.ts';
import { signRows } from './sign-rows.ts';
import { vaultRows } from './vault-rows.ts';
import { verifyRows } from './verify-rows.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    strict: { type: 'boolean', default: false },
    only: { type: 'string' },
  },
});

const groups: Readonly<Record<string, (seconds: number) => Promise<readonly Row[]>>> = {
  sign: signRows,
  push: pushRows,
  requests: requestRows,
  vault: vaultRows,
  verify: verifyRows,
  keys: keyRows,
  'many-keys': manyKeysRows,
};

const wanted = values.only?.split(',') ?? Object.keys(groups);
const rows: Row[] = [];
for (const name of wanted) {
  const group = groups[name];
  if (group === undefined) throw new Error(`there is no group ${name}; there are ${Object.keys(groups).join(', ')}`);
  if (!values.json) process.stderr.write(`measuring ${name} ...\n`);
  rows.push(...(await group(values.quick ? 2 : 5)));
}
process.stdout.write(values.json ? `${JSON.stringify(rows, undefined, 2)}\n` : `${formatRows(rows)}\n`);
process.exitCode = values.strict && rows.some((row) => row.holds !== true) ? 1 : 0;

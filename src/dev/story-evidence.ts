import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditRecord } from '../audit/port.ts';
import { getKey } from '../cli/calls.ts';
import { table } from '../cli/output.ts';
import { registryTree } from './registry/tree.ts';
import { repository, type Scene } from './scene.ts';

/** What is left behind: the registry, the audit log, and the public key for others' programs. */
export const tellEvidence = async (scene: Scene): Promise<string> => {
  const { world, tell, client, as } = scene;
  tell.step('What now lies in the registry');
  const tree = await registryTree(world.registry.host, [repository]);
  const tags = await client.tags();
  tell.check(
    'signatures and attestations, beside the image',
    tags.some((tag) => tag.endsWith('.att')),
  );
  tell.lines(tree);

  tell.step('What the audit log holds');
  const records = await auditRecords(world.auditFile);
  const count = (event: AuditRecord['event']): number => records.filter((record) => record.event === event).length;
  tell.check(
    'three intents, each completed, and one denial',
    count('intended') === 3 && count('completed') === 3 && count('denied') === 1 && records.length === 7,
  );
  const answered = records.filter(({ event }) => event === 'completed');
  tell.check(
    'every completed record names its intent',
    answered.every(({ intent }) => records.some(({ id, event }) => event === 'intended' && id === intent)),
  );
  tell.lines(table(records.map(auditRow)).trimEnd().split('\n'));

  tell.step('The public key, for the programs of others');
  const key = await getKey(as('release'), world.key);
  const pem = key?.signing?.pem ?? '';
  const path = join(world.folder, 'release.pub');
  await writeFile(path, pem);
  tell.check(`written to ${path}`, pem.startsWith('-----BEGIN PUBLIC KEY-----'));
  return path;
};

const auditRecords = async (path: string): Promise<readonly AuditRecord[]> =>
  (await readFile(path, 'utf8'))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditRecord);

const auditRow = (record: AuditRecord): readonly string[] => [
  record.time.slice(11, 23),
  record.event,
  record.verb,
  record.rule ?? '-',
  record.key ?? '-',
  record.digest?.slice(0, 19) ?? '-',
  record.results.length > 0 ? record.results.map(({ format }) => format).join(' ') : (record.error?.reason ?? ''),
];

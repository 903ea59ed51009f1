// What an audit file must hold whatever happens.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { AuditRecord } from '../../src/audit/port.ts';

export const readTrail = (file: string): readonly AuditRecord[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => JSON.parse(line) as AuditRecord);

const isEnd = ({ event }: AuditRecord): boolean => event === 'completed' || event === 'failed' || event === 'denied';

/** Intents of this key that nothing has ended yet. */
export const openIntents = (file: string, key: string): readonly AuditRecord[] => {
  const records = readTrail(file);
  const ended = new Set(records.map(({ intent }) => intent));
  return records.filter((record) => record.event === 'intended' && record.key === key && !ended.has(record.id));
};

/**
 * Each of these requests has exactly one end, each of their intents exactly one end that comes after it, and no end names an
 * intent that is not there. Answers with their records. The end of a request whose deadline passed may come a moment after
 * its answer.
 */
export const assertComplete = async (file: string, requestIds: readonly string[]): Promise<readonly AuditRecord[]> => {
  const wanted = new Set(requestIds);
  const mine = (): readonly AuditRecord[] => readTrail(file).filter(({ requestId }) => wanted.has(requestId));
  const unended = (): readonly string[] => {
    const ended = new Set(
      mine()
        .filter(isEnd)
        .map(({ requestId }) => requestId),
    );
    return requestIds.filter((id) => !ended.has(id));
  };
  const giveUp = performance.now() + 3_000;
  while (unended().length > 0 && performance.now() < giveUp) await delay(20);
  assert.deepEqual(unended(), [], 'requests of which the audit log does not tell the end');
  const records = mine();
  assertSound(records);
  const ends = records.filter(isEnd).map(({ requestId }) => requestId);
  assert.deepEqual(ends.toSorted(), requestIds.toSorted(), 'each request ends once');
  return records;
};

/** Whatever was begun has ended, once, after it began, and nothing ended that was not begun. */
export const assertSound = (records: readonly AuditRecord[]): void => {
  const intended = new Map<string, AuditRecord>();
  const ended = new Set<string>();
  for (const record of records) {
    if (record.event === 'intended') intended.set(record.id, record);
    if (record.event === 'completed') assert.ok(record.intent !== undefined, 'completed without an intent');
    if (record.intent === undefined) continue;
    assert.equal(
      intended.get(record.intent)?.requestId,
      record.requestId,
      'an end names an earlier intent of its request',
    );
    assert.ok(!ended.has(record.intent), `intent ${record.intent} ended twice`);
    ended.add(record.intent);
  }
  const open = [...intended.keys()].filter((id) => !ended.has(id));
  assert.deepEqual(open, [], 'intents without an end');
  assert.equal(new Set(records.map(({ id }) => id)).size, records.length, 'ids are unique');
};

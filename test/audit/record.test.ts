import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from '../../src/model/uuid.ts';
import { recordOf } from './records.ts';

test('ids are UUIDs of version 7: time first, then random', () => {
  const now = Date.UTC(2026, 10, 21, 12);
  const ids = Array.from({ length: 2_000 }, () => uuidv7(now));
  for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.equal(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16), now);
  assert.ok(uuidv7(now) < uuidv7(now + 1), 'later ids sort later');
  assert.equal(new Set(ids.map((id) => id.slice(19, 20))).size, 4, 'the variant leaves two bits to chance');
});

test('a record carries its id and an RFC 3339 time of the same moment', () => {
  const record = recordOf('r-1');
  assert.match(record.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.equal(Number.parseInt(record.id.replaceAll('-', '').slice(0, 12), 16), Date.parse(record.time));
});

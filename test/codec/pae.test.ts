import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { pae } from '../../src/codec/pae.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';

test("the DSSE specification's own vector", { skip: skipWithoutVectors }, () => {
  const vector = JSON.parse(readFileSync(vectorsPath('04-documents', 'dsse', 'test-vector.json'), 'utf8'));
  assert.equal(pae(vector.payloadType, Buffer.from(vector.payload)).toString(), vector.pae);
});

test('lengths are of bytes, not of characters (CVE-2026-48758)', () => {
  assert.equal(pae('t/\u00fc', Buffer.from('\u20ac')).toString(), 'DSSEv1 4 t/\u00fc 3 \u20ac');
  assert.notDeepEqual(pae('\u00fc', Buffer.from('x')), pae('\u0100', Buffer.from('x')));
});

test('payload bytes go in as they are', () => {
  const payload = Buffer.from([0, 255, 10, 32]);
  assert.deepEqual(pae('', payload), Buffer.concat([Buffer.from('DSSEv1 0  4 '), payload]));
});

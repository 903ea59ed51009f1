import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Question } from '../../src/model/decision.ts';
import { decide } from '../../src/policy/decide.ts';
import { github, load, question } from './world.ts';

const allowed = (policy: string, asked: Question): boolean => decide(load(policy), asked).allowed;

test('a digest is signed and attested for whoever a rule trusts with it; the blob itself needs no trust', () => {
  const rule = (more = '') => `rules:
  - name: blobs
    caller: {issuer: "${github}", claims: {repository_id: "456789"}}
    verbs: [sign, attest]
    keys: [blobs]
    subjects: ["dist/**"]
${more}`;
  const ask = (unseen: boolean, verb: 'sign' | 'attest' = 'sign') =>
    question({ verb, key: 'blobs', subject: { kind: 'blob', name: 'dist/a.tgz', unseen } });
  assert.ok(allowed(rule(), ask(false)));
  assert.ok(allowed(rule(), ask(false, 'attest')));
  assert.ok(!allowed(rule(), ask(true, 'attest')));
  assert.deepEqual(decide(load(rule()), ask(true)).nearest?.misses, [
    { condition: 'blobsByDigest', wanted: 'the blob itself', had: 'only its digest' },
  ]);
  const trusting = rule('    blobsByDigest: true\n');
  assert.ok(allowed(trusting, ask(true)));
  assert.ok(allowed(trusting, ask(false)));

  const denying = `${trusting}  - name: no-digests
    effect: deny
    caller: {issuer: "${github}"}
    verbs: [sign, attest]
    blobsByDigest: true
`;
  assert.equal(decide(load(denying), ask(true)).rule, 'no-digests');
  assert.equal(decide(load(denying), ask(false)).rule, 'blobs');
  assert.equal(decide(load(denying), ask(true, 'attest')).rule, 'no-digests');
});

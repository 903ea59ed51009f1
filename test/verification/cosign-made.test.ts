import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sha256 } from '../../src/model/digest.ts';
import type { Candidate, Question } from '../../src/verification/question.ts';
import { parsePublicKeyPem } from '../../src/keys/public-key.ts';
import { verifyCandidate } from '../../src/verification/verify.ts';
import { cosignMade } from '../formats/made.ts';
import { content, digest, other, trust } from './samples.ts';

describe('everything that cosign makes with a key counts', () => {
  for (const each of cosignMade.made) {
    test(`${each.by} ${each.key} ${each.subject} ${each.expect} ${each.mediaType ?? each.content.slice(0, 8)}`, () => {
      const pem = cosignMade.keys[each.key] ?? '';
      const cosigns = { ...parsePublicKeyPem(pem), name: each.key };
      const bytes = Buffer.from(cosignMade.blob);
      const question: Question = {
        subject:
          each.subject === 'image'
            ? { kind: 'image', digest: cosignMade.digest }
            : { kind: 'blob', digest: sha256(bytes), content: bytes },
        keys: [...trust(other), cosigns],
        expect:
          each.expect === 'signature' ? { kind: 'signature' } : { kind: 'attestation', predicateType: each.expect },
        annotations: {},
      };
      const candidate: Candidate = {
        content: Buffer.from(each.content),
        mediaType: each.mediaType,
        annotations: each.annotations ?? {},
        storedAt: undefined,
      };
      const verdict = verifyCandidate(question, candidate);
      assert.equal(verdict.reason, 'OK', verdict.message);
      assert.equal(verdict.key, each.key);
      assert.equal(verdict.keyHint, cosigns.hint);
      assert.equal(verifyCandidate({ ...question, keys: trust(other) }, candidate).counts, false);
      const elsewhere: Question['subject'] =
        each.subject === 'image' ? { kind: 'image', digest } : { kind: 'blob', digest: sha256(content), content };
      assert.equal(verifyCandidate({ ...question, subject: elsewhere }, candidate).counts, false);
    });
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildStatement } from '../../src/formats/statement.ts';
import { sha256 } from '../../src/model/digest.ts';
import type { FormatName, Signable } from '../../src/model/signature.ts';
import { type Candidate, type Question, providedCandidate } from '../../src/verification/question.ts';
import { verdictOf, verifyCandidate } from '../../src/verification/verify.ts';
import { newKey, sealed, signBytes } from '../formats/made.ts';
import {
  ask,
  attestation,
  blob,
  blobSubject,
  content,
  digest,
  image,
  key,
  made,
  other,
  predicateType,
  reason,
  statementOf,
  trust,
} from './samples.ts';

describe('what we make counts, by every format and algorithm', () => {
  for (const algorithm of ['P-256', 'P-384', 'P-521', 'rsa', 'ed25519'] as const) {
    test(algorithm, () => {
      const by = newKey(algorithm);
      const keys = trust(other, by);
      const cases: readonly (readonly [FormatName, Signable, Partial<Question>])[] = [
        ['simple-signing', image({ a: '1' }), { annotations: { a: '1' } }],
        ['bundle', image({ a: '1' }), { annotations: { a: '1' } }],
        ['bundle', statementOf(predicateType), { expect: attestation, annotations: { level: '3' } }],
        ['dsse', statementOf(predicateType), { expect: attestation }],
        ['bundle', blob, { subject: blobSubject }],
      ];
      for (const [format, signable, question] of cases) {
        const verdict = verifyCandidate(ask({ ...question, keys }), made(format, signable, by));
        assert.equal(verdict.reason, 'OK', verdict.message);
        assert.deepEqual(
          verdict.steps.map(({ name, passed }) => [name, passed]),
          ['read', 'format', 'content-type', 'key', 'signature', 'subject', 'annotations'].map((name) => [name, true]),
        );
        assert.equal(verdict.key, 'release');
        assert.equal(verdict.format, format);
      }
    });
  }

  test('a statement is given back, exact, and the annotations that were signed', () => {
    const signable = statementOf(predicateType);
    for (const format of ['dsse', 'bundle'] as const) {
      const verdict = verifyCandidate(ask({ expect: attestation }), made(format, signable));
      assert.deepEqual(
        verdict.statement && Buffer.from(verdict.statement),
        signable.kind === 'statement' && signable.statement,
      );
      assert.deepEqual({ ...verdict.annotations }, { level: '3' });
      assert.equal(verdict.predicateType, predicateType);
    }
  });

  test('blobs: bundle, and a bare signature in bytes or base64, with content and by digest', () => {
    const bare = signBytes(key, content);
    const subjects = [blobSubject, { ...blobSubject, content: undefined }];
    for (const subject of subjects) {
      const question = ask({ subject });
      for (const bytes of [bare, Buffer.from(bare.toString('base64')), Buffer.from(`${bare.toString('base64')}\n`)]) {
        assert.equal(reason(question, providedCandidate(bytes)), 'OK');
      }
      const bundle = providedCandidate(sealed('bundle', blob, key).content);
      assert.equal(reason(question, bundle), 'OK');
      assert.equal(verifyCandidate(question, bundle).format, 'bundle');
    }
    const verdict = verifyCandidate(ask({ subject: blobSubject }), providedCandidate(bare));
    assert.equal(verdict.format, 'unknown');
    assert.equal(verdict.mediaType, '');
  });

  test('P-384 and Ed25519 need the content of a blob', () => {
    for (const algorithm of ['P-384', 'P-521', 'ed25519'] as const) {
      const by = newKey(algorithm);
      const question = ask({ keys: trust(by), subject: { ...blobSubject, content: undefined } });
      assert.equal(reason(question, made('bundle', blob, by)), 'CONTENT_NEEDED');
      assert.equal(reason(question, providedCandidate(signBytes(by, content))), 'CONTENT_NEEDED');
    }
  });
});

describe('the verdict over all', () => {
  const verdictOver = (...candidates: readonly Candidate[]) =>
    verdictOf(
      ask(),
      candidates.map((candidate) => verifyCandidate(ask(), candidate)),
    );

  test('one that counts is enough, and each is accounted for', () => {
    const verdict = verdictOver(
      made('bundle', image(), other),
      made('bundle', statementOf(predicateType)),
      made('simple-signing', image()),
    );
    assert.equal(verdict.verified, true);
    assert.equal(verdict.digest, digest);
    assert.deepEqual(
      verdict.signatures.map((each) => each.reason),
      ['WRONG_KEY', 'WRONG_PREDICATE_TYPE', 'OK'],
    );
    assert.match(verdict.summary, /^Verified: 1 of 3 found count, the first by key release over sha256:/);
  });

  test('none', () => {
    const none = verdictOver();
    assert.equal(none.verified, false);
    assert.match(none.summary, /^Not verified: no signature was found for sha256:/);
    const wrong = verdictOver(made('bundle', image(), other), made('simple-signing', image(), other));
    assert.equal(wrong.verified, false);
    assert.match(wrong.summary, /^Not verified: of 2 found .* 2 times WRONG_KEY\.$/);
  });
});

test('an attestation as large as a stored one may be, such as a whole SBOM', () => {
  const predicate = { packages: 'x'.repeat(9 * 1024 * 1024) };
  const large: Signable = {
    kind: 'statement',
    predicateType,
    digest,
    statement: buildStatement({ subjects: [{ digest }], predicateType, predicate, version: 'v0.1' }),
  };
  for (const format of ['dsse', 'bundle'] as const) {
    assert.equal(verifyCandidate(ask({ expect: attestation }), made(format, large)).reason, 'OK');
  }
});

test('a bare signature that happens to begin like JSON', () => {
  const ed25519 = newKey('ed25519');
  let content = Buffer.from('0');
  let made = signBytes(ed25519, content);
  for (let round = 1; made[0] !== 0x7b; round++) {
    content = Buffer.from(String(round));
    made = signBytes(ed25519, content);
  }
  const subject = { kind: 'blob', digest: sha256(content), content } as const;
  assert.equal(reason(ask({ subject, keys: trust(ed25519) }), providedCandidate(made)), 'OK');
});

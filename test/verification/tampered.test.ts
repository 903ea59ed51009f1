import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { sha256 } from '../../src/model/digest.ts';
import { type Candidate, type Question, providedCandidate } from '../../src/verification/question.ts';
import { verifyCandidate } from '../../src/verification/verify.ts';
import { signBytes } from '../formats/made.ts';
import {
  ask,
  attestation,
  blob,
  blobSubject,
  content,
  image,
  key,
  made,
  predicateType,
  reason,
  statementOf,
  withJson,
} from './samples.ts';

describe('one changed byte and it does not count', () => {
  const cases: readonly (readonly [string, Question, Candidate])[] = [
    ['simple signing payload', ask(), made('simple-signing', image({ a: '1' }))],
    ['bundle of an image', ask(), made('bundle', image({ a: '1' }))],
    ['envelope', ask({ expect: attestation }), made('dsse', statementOf(predicateType))],
    ['bundle of an attestation', ask({ expect: attestation }), made('bundle', statementOf(predicateType))],
    ['bundle of a blob', ask({ subject: blobSubject }), made('bundle', blob)],
  ];
  for (const [name, question, candidate] of cases) {
    test(name, () => {
      assert.equal(reason(question, candidate), 'OK');
      const text = Buffer.from(candidate.content).toString();
      const hint = text.includes(key.hint)
        ? [text.indexOf(key.hint), text.indexOf(key.hint) + key.hint.length]
        : [0, 0];
      const keyid = text.indexOf('"keyid"');
      fc.assert(
        fc.property(fc.nat(candidate.content.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
          const changed = Buffer.from(candidate.content);
          changed[at] = (changed[at] ?? 0) ^ flip;
          const verdict = verifyCandidate(question, { ...candidate, content: changed });
          if (!verdict.counts) return true;
          // Unsigned by design: the hint, and the name of the envelope's optional keyid.
          const unsigned =
            (at >= (hint[0] ?? 0) && at < (hint[1] ?? 0)) || (keyid >= 0 && at >= keyid && at < keyid + 12);
          return unsigned && verdict.key === 'release';
        }),
        { numRuns: 1500 },
      );
    });
  }

  test('the signature of the tag layout, and the blob itself', () => {
    const one = made('simple-signing', image());
    const bytes = Buffer.from(one.annotations['dev.cosignproject.cosign/signature'] ?? '', 'base64');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const annotations = { 'dev.cosignproject.cosign/signature': changed.toString('base64') };
      assert.equal(reason(ask(), { ...one, annotations }), 'WRONG_KEY');
    }
    const bare = providedCandidate(signBytes(key, content));
    for (let at = 0; at < content.length; at++) {
      const changed = Buffer.from(content);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const subject = { kind: 'blob', digest: sha256(changed), content: changed } as const;
      assert.equal(reason(ask({ subject }), bare), 'WRONG_KEY');
      assert.equal(reason(ask({ subject }), made('bundle', blob)), 'DIGEST_MISMATCH');
    }
  });

  test('a signature taken from another one (CVE-2022-23649 class)', () => {
    const one = made('bundle', image({ a: '1' }));
    const two = JSON.parse(Buffer.from(made('bundle', image({ a: '2' })).content).toString());
    const swapped = withJson(one, (json: { dsseEnvelope: { signatures: unknown } }) => {
      json.dsseEnvelope.signatures = two.dsseEnvelope.signatures;
    });
    assert.equal(reason(ask(), swapped), 'TAMPERED');
  });

  test('a wrong message digest beside a good signature (CVE-2022-36056 class)', () => {
    const lying = withJson(
      made('bundle', blob),
      (json: { messageSignature: { messageDigest: { digest: string } } }) => {
        json.messageSignature.messageDigest.digest = createHash('sha256').update('else').digest('base64');
      },
    );
    assert.equal(reason(ask({ subject: blobSubject }), lying), 'DIGEST_MISMATCH');
  });

  test('arbitrary bytes never throw and never count', () => {
    const types = [
      undefined,
      'application/vnd.dev.sigstore.bundle.v0.3+json',
      'application/vnd.dsse.envelope.v1+json',
      'application/vnd.dev.cosign.simplesigning.v1+json',
    ];
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }),
          fc.json().map((text) => Buffer.from(text)),
        ),
        fc.constantFrom(...types),
        fc.constantFrom(ask(), ask({ subject: blobSubject }), ask({ expect: attestation })),
        (bytes, mediaType, question) => !verifyCandidate(question, { ...providedCandidate(bytes), mediaType }).counts,
      ),
      { numRuns: 500 },
    );
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { buildStatement, signPredicateType } from '../../src/formats/statement.ts';
import { pae } from '../../src/codec/pae.ts';
import { sha256, type Digest } from '../../src/model/digest.ts';
import { type Candidate, providedCandidate } from '../../src/verification/question.ts';
import { verifyCandidate } from '../../src/verification/verify.ts';
import { signBytes, type TestKey } from '../formats/made.ts';
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
  withJson,
} from './samples.ts';

describe('why a signature does not count', () => {
  const formatsOfImage = ['simple-signing', 'bundle'] as const;

  test('another key', () => {
    for (const format of formatsOfImage) assert.equal(reason(ask(), made(format, image(), other)), 'WRONG_KEY');
    assert.equal(reason(ask({ expect: attestation }), made('dsse', statementOf(predicateType), other)), 'WRONG_KEY');
    assert.equal(reason(ask({ subject: blobSubject }), made('bundle', blob, other)), 'WRONG_KEY');
    assert.equal(reason(ask({ keys: [] }), made('bundle', image())), 'WRONG_KEY');
  });

  test('another algorithm for the same bytes of a key', () => {
    const keys = trust(key).map((each) => ({ ...each, algorithm: 'ecdsa-p384-sha384' as const }));
    assert.notEqual(reason(ask({ keys }), made('bundle', image())), 'OK');
  });

  test('a hint is only a hint', () => {
    const claimsOther = withJson(made('bundle', image()), (json: { verificationMaterial: { publicKey: object } }) => {
      json.verificationMaterial.publicKey = { hint: other.hint };
    });
    assert.equal(reason(ask(), claimsOther), 'OK');
    assert.equal(reason(ask({ keys: trust(other) }), claimsOther), 'TAMPERED');
    assert.equal(reason(ask({ keys: trust(other, key) }), claimsOther), 'OK');
  });

  test('changed content, told from another key where the hint allows', () => {
    const changed = withJson(made('bundle', image()), (json: { dsseEnvelope: { payload: string } }) => {
      const payload = Buffer.from(json.dsseEnvelope.payload, 'base64')
        .toString()
        .replace('"predicate":{}', '"predicate":{"x":1}');
      json.dsseEnvelope.payload = Buffer.from(payload).toString('base64');
    });
    const verdict = verifyCandidate(ask(), changed);
    assert.equal(verdict.reason, 'TAMPERED');
    assert.equal(verdict.key, undefined);
    assert.deepEqual(verdict.annotations, {});
    assert.equal(verdict.statement, undefined);
    assert.deepEqual(verdict.steps.at(-1)?.name, 'signature');
  });

  test('another digest', () => {
    const elsewhere: Digest = `sha256:${'cd'.repeat(32)}`;
    for (const format of formatsOfImage) {
      const verdict = verifyCandidate(ask(), made(format, image({}, elsewhere)));
      assert.equal(verdict.reason, 'DIGEST_MISMATCH');
      assert.equal(verdict.key, 'release');
    }
    for (const format of ['dsse', 'bundle'] as const) {
      assert.equal(
        reason(ask({ expect: attestation }), made(format, statementOf(predicateType, elsewhere))),
        'DIGEST_MISMATCH',
      );
    }
    const otherBlob = { kind: 'blob', digest: sha256(Buffer.from('x')), content: Buffer.from('x') } as const;
    assert.equal(reason(ask({ subject: otherBlob }), made('bundle', blob)), 'DIGEST_MISMATCH');
    assert.equal(
      reason(ask({ subject: { ...otherBlob, content: undefined } }), made('bundle', blob)),
      'DIGEST_MISMATCH',
    );
  });

  test('an attestation does not count as a signature, nor a signature as an attestation (cosign verify v3 takes either)', () => {
    const verdict = verifyCandidate(ask(), made('bundle', statementOf(predicateType)));
    assert.equal(verdict.reason, 'WRONG_PREDICATE_TYPE');
    assert.match(
      verdict.message,
      /attestation of type https:\/\/slsa\.dev\/provenance\/v1, which does not count as a signature/,
    );
    assert.equal(reason(ask(), made('dsse', statementOf(predicateType))), 'WRONG_PREDICATE_TYPE');
    assert.equal(reason(ask({ expect: attestation }), made('bundle', image())), 'WRONG_PREDICATE_TYPE');
    assert.equal(reason(ask({ expect: attestation }), made('simple-signing', image())), 'WRONG_CONTENT');
    assert.equal(reason(ask({ expect: attestation, subject: blobSubject }), made('bundle', blob)), 'WRONG_CONTENT');
    const asked = { kind: 'attestation', predicateType: signPredicateType } as const;
    assert.equal(reason(ask({ expect: asked }), made('bundle', image())), 'WRONG_PREDICATE_TYPE');
  });

  test('another predicate type, compared whole (CVE-2022-35929, CVE-2022-35930, CVE-2026-39395)', () => {
    for (const type of [
      `${predicateType}/`,
      `${predicateType} `,
      predicateType.toUpperCase(),
      'https://slsa.dev/provenance',
      `x${predicateType}`,
    ]) {
      for (const format of ['dsse', 'bundle'] as const) {
        assert.equal(reason(ask({ expect: attestation }), made(format, statementOf(type))), 'WRONG_PREDICATE_TYPE');
      }
    }
  });

  test('the annotation of the predicate type is unsigned and means nothing', () => {
    const lying = { ...made('dsse', statementOf('https://other/v1')), annotations: { predicateType } };
    assert.equal(reason(ask({ expect: attestation }), lying), 'WRONG_PREDICATE_TYPE');
  });

  test('a signature of a blob is none of an image, and the other way round', () => {
    assert.equal(
      reason(ask({ subject: { kind: 'image', digest: sha256(content) } }), made('bundle', blob)),
      'WRONG_CONTENT',
    );
    assert.equal(
      reason(ask({ subject: { ...blobSubject, digest } }), made('simple-signing', image())),
      'WRONG_CONTENT',
    );
    const bare = providedCandidate(signBytes(key, content));
    assert.equal(reason(ask(), bare), 'UNKNOWN_FORMAT');
  });

  test('a certificate where keys are trusted', () => {
    const certified = withJson(made('bundle', image()), (json: { verificationMaterial: object }) => {
      json.verificationMaterial = { certificate: { rawBytes: 'AAAA' } };
    });
    assert.equal(reason(ask(), certified), 'WRONG_MATERIAL');
    const beside = (by: TestKey): Candidate => {
      const one = made('simple-signing', image(), by);
      return {
        ...one,
        annotations: { ...one.annotations, 'dev.sigstore.cosign/certificate': '-----BEGIN CERTIFICATE-----' },
      };
    };
    assert.equal(reason(ask(), beside(other)), 'WRONG_MATERIAL');
    assert.equal(reason(ask(), beside(key)), 'OK');
  });

  test('wanted annotations: all of them, exactly, in what was signed', () => {
    for (const format of formatsOfImage) {
      const one = made(format, image({ a: '1', b: '2' }));
      for (const annotations of [{}, { a: '1' }, { a: '1', b: '2' }])
        assert.equal(reason(ask({ annotations }), one), 'OK');
      for (const annotations of [{ a: '2' }, { a: '1', c: '3' }, { a: '' }, { toString: 'x' }, { A: '1' }] as Record<
        string,
        string
      >[]) {
        const verdict = verifyCandidate(ask({ annotations }), one);
        assert.equal(verdict.reason, 'ANNOTATION_MISMATCH');
        assert.deepEqual({ ...verdict.annotations }, { a: '1', b: '2' });
      }
    }
    const unsigned = { ...made('bundle', image()), annotations: { a: '1' } };
    assert.equal(reason(ask({ annotations: { a: '1' } }), unsigned), 'ANNOTATION_MISMATCH');
    assert.equal(
      reason(ask({ subject: blobSubject, annotations: { a: '1' } }), made('bundle', blob)),
      'ANNOTATION_MISMATCH',
    );
  });

  test('of several subjects one must have the digest and all the annotations', () => {
    const subjects = [
      { digest: `sha256:${'11'.repeat(32)}`, annotations: { a: '1' } },
      { digest, annotations: { b: '2' } },
      { digest, annotations: { c: '3' } },
    ] as const;
    const statement = buildStatement({ subjects, predicateType, predicate: {}, version: 'v1' });
    const one = made('bundle', { kind: 'statement', predicateType, digest, statement });
    const wanting = (annotations: Record<string, string>) => reason(ask({ expect: attestation, annotations }), one);
    assert.deepEqual(
      [{}, { b: '2' }, { c: '3' }, { a: '1' }, { b: '2', c: '3' }].map((each) =>
        wanting(each as Record<string, string>),
      ),
      ['OK', 'OK', 'OK', 'ANNOTATION_MISMATCH', 'ANNOTATION_MISMATCH'],
    );
  });

  test('a subject with another algorithm only', () => {
    const statement = Buffer.from(
      `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha512":"${'ab'.repeat(64)}"}}],"predicateType":"${predicateType}"}`,
    );
    assert.equal(
      reason(ask({ expect: attestation }), made('bundle', { kind: 'statement', predicateType, digest, statement })),
      'DIGEST_MISMATCH',
    );
  });

  test('a payload of another type, signed by the right key', () => {
    const payload = buildStatement({ subjects: [{ digest }], predicateType, predicate: {}, version: 'v1' });
    for (const payloadType of [
      'application/vnd.in-toto+jso\u00fc',
      'application/json',
      'application/vnd.in-toto+json; charset=utf-8',
    ]) {
      const envelope = {
        payloadType,
        payload: Buffer.from(payload).toString('base64'),
        signatures: [{ sig: signBytes(key, pae(payloadType, payload)).toString('base64') }],
      };
      const candidate = providedCandidate(Buffer.from(JSON.stringify(envelope)));
      assert.equal(reason(ask({ expect: attestation }), candidate), 'WRONG_PAYLOAD_TYPE');
    }
  });

  test('two signatures in one envelope, the second one good', () => {
    const two = withJson(made('dsse', statementOf(predicateType)), (json: { signatures: object[] }) => {
      json.signatures.unshift({ sig: 'AAAA' });
    });
    assert.equal(reason(ask({ expect: attestation }), two), 'MALFORMED');
  });

  test('what nobody signed is told of in few words, however long it is', () => {
    const long = 'x'.repeat(100_000);
    const stored = made('bundle', statementOf(predicateType), other);
    const candidates = [
      made('bundle', statementOf(`https://example.com/${long}`), other),
      withJson(stored, (json: { verificationMaterial: { publicKey: { hint: string } } }) => {
        json.verificationMaterial.publicKey.hint = long;
      }),
      withJson(stored, (json: Record<string, unknown>) => {
        json[long] = 1;
      }),
    ];
    for (const candidate of candidates) {
      const verdict = verifyCandidate(ask({ expect: attestation }), candidate);
      assert.equal(verdict.counts, false);
      assert.ok(JSON.stringify(verdict).length < 4_000, JSON.stringify(verdict).slice(0, 2_000));
    }
  });

  test('things that are no signatures at all', () => {
    const attached = (text: string, mediaType: string): Candidate => ({
      ...providedCandidate(Buffer.from(text)),
      mediaType,
    });
    assert.equal(reason(ask(), attached('text', 'text/plain')), 'UNKNOWN_FORMAT');
    assert.equal(reason(ask(), attached('{}', 'application/vnd.dev.sigstore.bundle.v0.3+json')), 'MALFORMED');
    assert.equal(reason(ask(), attached('', 'application/vnd.dev.sigstore.bundle.v0.3+json')), 'MALFORMED');
    assert.equal(reason(ask(), providedCandidate(Buffer.alloc(16 * 1024 * 1024 + 1, 0x20))), 'TOO_LARGE');
    for (const text of ['{', '{}', '{"payloadType":1}', 'null', '[]', '"x"', '{"base64Signature":"AAAA"}', 'AAAA']) {
      assert.equal(verifyCandidate(ask(), providedCandidate(Buffer.from(text))).counts, false, text);
      assert.equal(
        verifyCandidate(ask({ subject: blobSubject }), providedCandidate(Buffer.from(text))).counts,
        false,
        text,
      );
    }
    assert.equal(reason(ask({ subject: blobSubject }), providedCandidate(Buffer.alloc(2000, 1))), 'UNKNOWN_FORMAT');
  });
});

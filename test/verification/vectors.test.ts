import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { parsePublicKeyPem } from '../../src/keys/public-key.ts';
import { type Digest, sha256 } from '../../src/model/digest.ts';
import {
  type Candidate,
  providedCandidate,
  type Question,
  type VerificationKey,
} from '../../src/verification/question.ts';
import { verifyCandidate } from '../../src/verification/verify.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';

const read = (...parts: readonly string[]): Buffer => readFileSync(vectorsPath(...parts));
const keyOf = (pem: string): VerificationKey => {
  const key = parsePublicKeyPem(pem);
  return { ...key, name: `pem:${key.hint}` };
};

describe('containers/image: signatures by key that cosign and skopeo made', { skip: skipWithoutVectors }, () => {
  const fixtures = ['02-bundles', 'containers-image', 'fixtures'] as const;
  const keys = [keyOf(read(...fixtures, 'cosign.pub').toString())];
  const keys2 = [keyOf(read(...fixtures, 'cosign2.pub').toString())];

  /** `signature-N` is a header line and JSON: mimeType, payload in base64, annotations. */
  const signature = (file: string): Candidate => {
    const { mimeType, payload, annotations } = JSON.parse(
      read(...fixtures, ...file.split('/'))
        .toString()
        .replace(/^[^\n]*\n/, ''),
    );
    return { content: Buffer.from(payload, 'base64'), mediaType: mimeType, annotations, storedAt: undefined };
  };
  const manifestDigest = (dir: string): Digest => sha256(read(...fixtures, dir, 'manifest.json'));
  const reason = (
    file: string,
    digest: Digest,
    trusted: readonly VerificationKey[],
    edit = (one: Candidate) => one,
  ): string => {
    const question: Question = {
      subject: { kind: 'image', digest },
      keys: trusted,
      expect: { kind: 'signature' },
      annotations: {},
    };
    return verifyCandidate(question, edit(signature(file))).reason;
  };
  const cases: readonly (readonly [string, string, readonly VerificationKey[], string])[] = [
    ['dir-img-cosign-valid/signature-1', 'dir-img-cosign-valid', keys, 'OK'],
    ['dir-img-cosign-valid-2/signature-1', 'dir-img-cosign-valid-2', keys, 'OK'],
    ['dir-img-cosign-valid-2/signature-2', 'dir-img-cosign-valid-2', keys, 'OK'],
    ['dir-img-cosign-valid-with-tag/signature-1', 'dir-img-cosign-valid-with-tag', keys, 'OK'],
    ['dir-img-cosign-key-rekor-valid/signature-1', 'dir-img-cosign-key-rekor-valid', keys2, 'OK'],
    ['dir-img-cosign-key-rekor-valid/signature-1', 'dir-img-cosign-key-rekor-valid', keys, 'WRONG_KEY'],
    ['dir-img-cosign-fulcio-rekor-valid/signature-1', 'dir-img-cosign-fulcio-rekor-valid', keys, 'WRONG_MATERIAL'],
    ['dir-img-cosign-pki-valid/signature-1', 'dir-img-cosign-pki-valid', keys, 'WRONG_MATERIAL'],
    ['dir-img-cosign-modified-manifest/signature-1', 'dir-img-cosign-modified-manifest', keys, 'DIGEST_MISMATCH'],
    [
      'dir-img-cosign-manifest-digest-error/signature-1',
      'dir-img-cosign-manifest-digest-error',
      keys,
      'DIGEST_MISMATCH',
    ],
    ['dir-img-cosign-mixed/signature-1', 'dir-img-cosign-mixed', keys, 'WRONG_KEY'],
    ['dir-img-cosign-mixed/signature-2', 'dir-img-cosign-mixed', keys, 'OK'],
    ['dir-img-cosign-other-attachment/signature-1', 'dir-img-cosign-other-attachment', keys, 'UNKNOWN_FORMAT'],
    ['unknown-cosign-key.signature', 'dir-img-cosign-valid', keys, 'WRONG_KEY'],
  ];
  for (const [file, dir, trusted, expected] of cases) {
    test(`${file}: ${expected}`, () => assert.equal(reason(file, manifestDigest(dir), trusted), expected));
  }
  test('an invalid signature', () => {
    const edit = (one: Candidate): Candidate => ({
      ...one,
      annotations: { 'dev.cosignproject.cosign/signature': Buffer.from('invalid signature').toString('base64') },
    });
    assert.equal(
      reason('dir-img-cosign-valid/signature-1', manifestDigest('dir-img-cosign-valid'), keys, edit),
      'WRONG_KEY',
    );
  });
});

describe('sigstore-conformance: managed keys, by file and by digest', { skip: skipWithoutVectors }, () => {
  const folder = ['01-sigstore-conformance', 'bundle-verify'] as const;
  const { cases } = JSON.parse(read('01-sigstore-conformance', 'EXPECTED.json').toString()) as {
    cases: { case: string; expected: 'PASS' | 'FAIL' }[];
  };
  const managed = cases.filter((each) => each.case.startsWith('managed-key'));
  assert.equal(managed.length, 4);
  for (const { case: name, expected } of managed) {
    test(`${name}: ${expected}`, () => {
      const own = vectorsPath(...folder, name);
      const content = existsSync(`${own}/artifact`) ? read(...folder, name, 'artifact') : read(...folder, 'a.txt');
      for (const given of [content, undefined]) {
        const verify = (): boolean => {
          const keys = existsSync(`${own}/key.pub`) ? [keyOf(read(...folder, name, 'key.pub').toString())] : [];
          const question: Question = {
            subject: { kind: 'blob', digest: sha256(content), content: given },
            keys,
            expect: { kind: 'signature' },
            annotations: {},
          };
          return verifyCandidate(question, providedCandidate(read(...folder, name, 'bundle.sigstore.json'))).counts;
        };
        if (name === 'managed-key-wrong-key_fail') assert.throws(verify, { code: 'invalid_argument' });
        else assert.equal(verify(), expected === 'PASS');
      }
    });
  }

  test('a valid but different key, and every bundle by certificate, are refused by key', () => {
    const key = keyOf(read('02-bundles', 'containers-image', 'fixtures', 'cosign.pub').toString());
    const content = read(...folder, 'a.txt');
    const reasons = cases.map(({ case: name }) => {
      const question: Question = {
        subject: { kind: 'blob', digest: sha256(content), content },
        keys: [key],
        expect: { kind: 'signature' },
        annotations: {},
      };
      return [
        name,
        verifyCandidate(question, providedCandidate(read(...folder, name, 'bundle.sigstore.json'))).reason,
      ] as const;
    });
    const by = new Map(reasons);
    assert.equal(by.get('managed-key-happy-path'), 'WRONG_KEY');
    assert.equal(by.get('happy-path-v0.3'), 'WRONG_MATERIAL');
    for (const name of ['malformed-json', 'unknown-version', 'negative-log-index', 'empty-certificate-chain']) {
      assert.equal(by.get(`bundle-${name}_fail`), 'MALFORMED', name);
    }
    assert.ok(reasons.every(([, reason]) => reason !== 'OK'));
    assert.equal(reasons.length, cases.length);
  });
});

test('a bundle with a managed key that sigstore-js published', { skip: skipWithoutVectors }, () => {
  const bundle = read('02-bundles', 'sigstore-go', 'examples', 'bundle-publish.json');
  const key = keyOf(read('02-bundles', 'sigstore-go', 'examples', 'publish_key.pub').toString());
  const question: Question = {
    subject: { kind: 'image', digest: `sha256:${'00'.repeat(32)}` },
    keys: [key],
    expect: { kind: 'attestation', predicateType: 'https://github.com/npm/attestation/tree/main/specs/publish/v0.1' },
    annotations: {},
  };
  const verdict = verifyCandidate(question, providedCandidate(bundle));
  assert.equal(verdict.key, key.name);
  // Its subject has a SHA-512 only.
  assert.equal(verdict.reason, 'DIGEST_MISMATCH');
});

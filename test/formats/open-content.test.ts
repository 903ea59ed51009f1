import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { formats } from '../../src/formats/formats.ts';
import {
  type Json,
  b64,
  bundle,
  digest,
  hex,
  open,
  payload,
  refused,
  replaced,
  signature,
  statement,
} from './documents.ts';

describe('limits hold before anything is made of the elements (GHSA-cq38-jh5f-37mq, GHSA-vfp6-jrw2-99g9)', () => {
  const many = (path: readonly (string | number)[], element: Json, count: number): Json =>
    replaced(bundle, path, new Array(count).fill(element));
  const entry = bundle.verificationMaterial.tlogEntries[0] ?? null;
  const cases: readonly (readonly [readonly (string | number)[], Json, number])[] = [
    [['verificationMaterial', 'tlogEntries'], entry, 32],
    [['verificationMaterial', 'timestampVerificationData', 'rfc3161Timestamps'], { signedTimestamp: b64('t') }, 32],
    [['verificationMaterial', 'tlogEntries', 0, 'inclusionProof', 'hashes'], b64('h'), 64],
  ];
  for (const [path, element, max] of cases) {
    test(`${path.at(-1)}: ${max}`, () => {
      assert.ok(open.bundle(many(path, element, max)));
      refused(() => open.bundle(many(path, element, max + 1)), /^MALFORMED_BUNDLE$/);
      assert.throws(() => open.bundle(many(path, 'not looked at', max + 1)), { message: /has more than \d+ entries/ });
    });
  }

  test('subjects: 1,024; digests of one: 32', () => {
    const base = JSON.parse(Buffer.from(statement).toString());
    const subject = { digest: { sha256: hex } };
    assert.equal(open.statement({ ...base, subject: new Array(1024).fill(subject) }).subjects.length, 1024);
    refused(() => open.statement({ ...base, subject: new Array(1025).fill(subject) }));
    const digests = (count: number) =>
      Object.fromEntries([['sha256', hex], ...Array.from({ length: count - 1 }, (_, n) => [`x${n}`, 'ab'])]);
    assert.equal(open.statement({ ...base, subject: [{ digest: digests(32) }] }).subjects.length, 1);
    refused(() => open.statement({ ...base, subject: [{ digest: digests(33) }] }));
  });

  test('bytes and depth', () => {
    const big = Buffer.concat([Buffer.from('{"a":"'), Buffer.alloc(16 * 1024 * 1024, 0x78), Buffer.from('"}')]);
    refused(() => formats.bundle.open(big, {}));
    refused(() => formats.dsse.open(big, {}));
    refused(() => formats['simple-signing'].open(big, signature));
    refused(() => formats.bundle.open(Buffer.from('['.repeat(1_000_000)), {}));
  });
});

describe('statement', () => {
  const base = JSON.parse(Buffer.from(statement).toString());

  test('v0.1 and v1, unknown members ignored, only SHA-256 counts', () => {
    assert.ok(open.statement({ ...base, _type: 'https://in-toto.io/Statement/v0.1', extra: { a: [] } }));
    for (const _type of ['https://in-toto.io/Statement/v2', 'https://in-toto.io/Statement/', 'link']) {
      refused(() => open.statement({ ...base, _type }), /^MALFORMED_STATEMENT$/);
    }
    const other = { name: 'x', digest: { sha512: 'ab'.repeat(64) } };
    assert.deepEqual(open.statement({ ...base, subject: [other] }).subjects, []);
    assert.deepEqual(
      open.statement({ ...base, subject: [other, ...base.subject] }).subjects.map((each) => each.digest),
      [digest],
    );
  });

  test('a SHA-256 that is not 64 lower-case hex digits is refused', () => {
    for (const sha256 of [hex.toUpperCase(), hex.slice(1), `${hex}00`, `sha256:${hex}`, `${hex}\n`, 'g'.repeat(64)]) {
      refused(() => open.statement({ ...base, subject: [{ digest: { sha256 } }] }));
    }
  });

  test('a predicate that is text, a list or a number is refused (cosign #4648 to #5016)', () => {
    for (const predicate of ['text', [], 7, true]) refused(() => open.statement({ ...base, predicate }));
    for (const predicate of [null, {}, undefined]) assert.ok(open.statement({ ...base, predicate }));
  });

  test('annotations that are not text are left out', () => {
    const annotations = { a: '1', b: 2, c: null, d: { e: 'f' }, constructor: 'x' };
    const [subject] = open.statement({ ...base, subject: [{ digest: { sha256: hex }, annotations }] }).subjects;
    assert.deepEqual({ ...subject?.annotations }, { a: '1', constructor: 'x' });
    assert.equal(subject?.annotations['toString'], undefined);
  });
});

describe('simple signing', () => {
  test('what is critical is understood whole', () => {
    refused(() => open.payload({ ...payload, critical: { ...payload.critical, more: 1 } }));
    refused(() => open.payload({ critical: { ...payload.critical, type: 'atomic container signature' } }));
    for (const value of ['sha512:ab', hex, digest.toUpperCase(), `${digest} `]) {
      refused(() => open.payload(replaced(payload, ['critical', 'image', 'docker-manifest-digest'], value)));
    }
    assert.ok(open.payload({ ...payload, optional: null }));
    assert.ok(open.payload({ critical: payload.critical, optional: { timestamp: 1657296609, creator: 'x' } }));
  });

  test('the signature is in the annotation, in canonical base64', () => {
    const bytes = Buffer.from(JSON.stringify(payload));
    for (const annotations of [
      {},
      ...['', ' ', '\n', 'c2 ln', '\tc2ln', 'c2l'].map((value) => ({ 'dev.cosignproject.cosign/signature': value })),
    ]) {
      refused(() => formats['simple-signing'].open(bytes, annotations), /^MALFORMED_PAYLOAD$/);
    }
    for (const [certificate, material] of [
      ['', 'key'],
      [' \n', 'key'],
      ['-----BEGIN', 'key-or-certificate'],
    ] as const) {
      const annotations = { ...signature, 'dev.sigstore.cosign/certificate': certificate };
      assert.equal(formats['simple-signing'].open(bytes, annotations).material, material);
    }
  });
});

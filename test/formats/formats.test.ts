import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { bundleFromJSON, bundleToJSON } from '@sigstore/bundle';
import { formatOf, formats } from '../../src/formats/formats.ts';
import { buildStatement, signPredicateType } from '../../src/formats/statement.ts';
import { type Digest, sha256 } from '../../src/model/digest.ts';
import type { Signable } from '../../src/model/signature.ts';
import { cosignMade, type Made, newKey, now, sealed, signBytes } from './made.ts';

const digest: Digest = cosignMade.digest;
const repository = '127.0.0.1:5999/acme/app';
/** What the goldens were made with: characters that Go escapes or not. */
const oddAnnotations = { b: 'x<y>&z', a: 'u\u00fc\t\b\f\u007f\\\u2028\u{1f600}/' };
const image = (annotations: Readonly<Record<string, string>> = {}): Signable => ({
  kind: 'image',
  repository,
  digest,
  annotations,
});
const content = Buffer.from(cosignMade.blob);
const blob: Signable = { kind: 'blob', name: 'acme/blob', digest: sha256(content), content };
const predicateType = 'https://example.com/p/v1';
const statement = (predicate: unknown): Signable => ({
  kind: 'statement',
  predicateType,
  digest,
  statement: buildStatement({ subjects: [{ name: repository, digest }], predicateType, predicate, version: 'v0.1' }),
});
const key = newKey();

const golden = (filter: (made: Made) => boolean): readonly Made[] => {
  const found = cosignMade.made.filter((made) => made.golden === true && filter(made));
  assert.notEqual(found.length, 0);
  return found;
};
const payloadOf = (bundle: string): string =>
  Buffer.from(JSON.parse(bundle).dsseEnvelope.payload, 'base64').toString('utf8');
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');
const refuses = (reason: string, act: () => unknown): void => {
  assert.throws(act, (error: { code?: string; reason?: string; message?: string }) => {
    assert.equal(error.code, 'invalid_argument', error.message);
    assert.equal(error.reason, reason, error.message);
    return true;
  });
};

describe("what we write is byte for byte cosign's", () => {
  test('simple signing, with and without annotations (cosign 2.5.0)', () => {
    const [withAnnotations, without] = golden(({ mediaType = '' }) => mediaType.includes('simplesigning'));
    const odd = sealed('simple-signing', image(oddAnnotations), key);
    assert.equal(text(odd.content), withAnnotations?.content);
    assert.equal(odd.mediaType, withAnnotations?.mediaType);
    assert.equal(text(sealed('simple-signing', image(), key).content), without?.content);
    assert.deepEqual(odd.attachment, {
      by: 'tag',
      suffix: 'sig',
      annotations: { 'dev.cosignproject.cosign/signature': Buffer.from(odd.signature).toString('base64') },
    });
  });

  test('the statement of an image signature, with and without annotations (cosign 3.1.1)', () => {
    const payloads = golden(({ expect, by }) => expect === 'signature' && by === 'cosign-3.1.1').map((made) =>
      payloadOf(made.content),
    );
    for (const annotations of [oddAnnotations, {}]) {
      assert.ok(payloads.includes(payloadOf(text(sealed('bundle', image(annotations), key).content))));
    }
  });

  test('the whole bundle of an image signature but hint and signature (cosign 3.1.1)', () => {
    const masked = (json: string): string => json.replace(/"(hint|sig)":"[^"]+"/g, '"$1":""');
    const [made] = golden(({ expect, by, key }) => expect === 'signature' && by === 'cosign-3.1.1' && key === 'P-256');
    const ours = sealed('bundle', image(oddAnnotations), key);
    assert.equal(masked(text(ours.content)), masked(made?.content ?? ''));
    assert.deepEqual(ours.attachment, {
      by: 'referrer',
      artifactType: made?.mediaType,
      annotations: { ...made?.annotations, 'org.opencontainers.image.created': '2026-11-27T00:00:04Z' },
    });
  });

  test('the statement of an attestation in a bundle, and the envelope of the tag layout', () => {
    const signable = statement({ a: null, hello: 'w\u00f6rld <&>', n: 1, z: [1, 2] });
    const [bundled] = golden(({ expect, by }) => expect === predicateType && by === 'cosign-3.1.1');
    assert.equal(payloadOf(text(sealed('bundle', signable, key).content)), payloadOf(bundled?.content ?? ''));

    const [enveloped] = golden(({ expect, by }) => expect === predicateType && by === 'cosign-2.5.0');
    const ours = sealed('dsse', signable, key);
    const masked = (json: string): string => json.replace(/"(payload|sig)":"[^"]+"/g, '"$1":""');
    assert.equal(masked(text(ours.content)), masked(enveloped?.content ?? ''));
    assert.equal(ours.mediaType, enveloped?.mediaType);
    assert.deepEqual(ours.attachment, { by: 'tag', suffix: 'att', annotations: enveloped?.annotations });
  });

  test('the bundle of a blob, for each algorithm, but hint and signature (cosign 3.1.1)', () => {
    const masked = (json: string): string => json.replace(/"(hint|signature)":"[^"]+"/g, '"$1":""');
    for (const name of ['P-256', 'P-384', 'P-521', 'rsa'] as const) {
      const made = cosignMade.made.find(
        (each) => each.subject === 'blob' && each.by === 'cosign-3.1.1' && each.key.startsWith(name),
      );
      assert.equal(masked(text(sealed('bundle', blob, newKey(name)).content)), masked(made?.content ?? ''), name);
    }
  });

  test('Ed25519 names the blob by SHA-256, where cosign 3.1.1 writes a digest that it then cannot read', () => {
    const { messageSignature } = JSON.parse(text(sealed('bundle', blob, newKey('ed25519')).content));
    assert.deepEqual(messageSignature.messageDigest, {
      algorithm: 'SHA2_256',
      digest: createHash('sha256').update(content).digest('base64'),
    });
  });
});

describe('others read what we write', () => {
  test('@sigstore/bundle and @sigstore/protobuf-specs, nothing lost', () => {
    for (const signable of [image(oddAnnotations), blob, statement({ x: 1 })]) {
      const json = JSON.parse(text(sealed('bundle', signable, key).content));
      const parsed = bundleFromJSON(json);
      assert.equal(parsed.verificationMaterial?.content?.$case, 'publicKey');
      const again = JSON.parse(JSON.stringify(bundleToJSON(parsed)));
      for (const one of again.dsseEnvelope?.signatures ?? []) assert.equal(one.keyid ?? '', '');
      if (again.dsseEnvelope) again.dsseEnvelope.signatures = json.dsseEnvelope.signatures;
      assert.deepEqual({ ...again, verificationMaterial: {} }, { ...json, verificationMaterial: {} });
      assert.equal(again.verificationMaterial.publicKey.hint, key.hint);
    }
  });
});

describe('what is opened is what was sealed', () => {
  test('an image by simple signing', () => {
    const one = sealed('simple-signing', image(oddAnnotations), key);
    const opened = formats['simple-signing'].open(one.content, one.attachment.annotations);
    assert.deepEqual(
      { ...opened.content, annotations: { ...(opened.content.kind === 'image' && opened.content.annotations) } },
      { kind: 'image', digest, annotations: oddAnnotations },
    );
    assert.deepEqual(opened.message, one.content);
    assert.deepEqual(Buffer.from(opened.signature), Buffer.from(one.signature));
    assert.equal(opened.keyHint, undefined);
  });

  test('an image and a statement by bundle, a statement by envelope', () => {
    const cases = [
      [sealed('bundle', image(oddAnnotations), key), signPredicateType, oddAnnotations, key.hint],
      [sealed('bundle', statement({}), key), predicateType, {}, key.hint],
      [sealed('dsse', statement({}), key), predicateType, {}, undefined],
    ] as const;
    for (const [one, type, annotations, hint] of cases) {
      const opened = formats[one.format].open(one.content, one.attachment.annotations);
      assert.equal(opened.content.kind, 'statement');
      if (opened.content.kind !== 'statement') continue;
      assert.equal(opened.content.predicateType, type);
      assert.deepEqual(
        opened.content.subjects.map((each) => [each.digest, { ...each.annotations }]),
        [[digest, annotations]],
      );
      assert.equal(opened.keyHint, hint);
      assert.equal(opened.material, 'key');
    }
  });

  test('a blob, with the digest of the hash that belongs to the key', () => {
    for (const [name, hash] of [
      ['P-256', 'sha256'],
      ['P-384', 'sha384'],
      ['P-521', 'sha512'],
      ['ed25519', 'sha256'],
    ] as const) {
      const opened = formats.bundle.open(sealed('bundle', blob, newKey(name)).content, {});
      assert.deepEqual(opened.content, { kind: 'blob' });
      assert.deepEqual(
        opened.messageDigest && Buffer.from(opened.messageDigest),
        createHash(hash).update(content).digest(),
      );
    }
  });

  test('the same input gives the same message, whatever the time', () => {
    for (const [format, signable] of [
      ['bundle', image()],
      ['dsse', statement({})],
      ['simple-signing', image()],
    ] as const) {
      assert.deepEqual(formats[format].message(signable, now), formats[format].message(signable, new Date(0)));
    }
  });
});

describe('what a format cannot carry', () => {
  test('is refused by name', () => {
    refuses('FORMAT_NOT_APPLICABLE', () => formats['simple-signing'].message(blob, now));
    refuses('FORMAT_NOT_APPLICABLE', () => formats['simple-signing'].message(statement({}), now));
    refuses('FORMAT_NOT_APPLICABLE', () => formats.dsse.message(image(), now));
    refuses('FORMAT_NOT_APPLICABLE', () => formats.dsse.message(blob, now));
    refuses('INVALID_TEXT', () => formats['simple-signing'].message(image({ a: '\ud800' }), now));
    refuses('INVALID_TEXT', () => formats.bundle.message(image({ '\udfff': 'a' }), now));
  });

  test('a blob without content is signed by digest, where the key can', () => {
    const bare: Signable = { kind: 'blob', name: 'b', digest: sha256(content), content: undefined };
    const toSign = formats.bundle.message(bare, now);
    assert.deepEqual(toSign, { kind: 'digest', digest: createHash('sha256').update(content).digest() });
    const one = formats.bundle.seal(bare, toSign, signBytes(key, content), key, now);
    assert.deepEqual(one.content, formats.bundle.seal(blob, toSign, one.signature, key, now).content);
    assert.throws(() => formats.bundle.seal(bare, toSign, Buffer.from('s'), newKey('P-384'), now), {
      code: 'failed_precondition',
      reason: 'DIGEST_NOT_SUPPORTED',
    });
  });

  test('a blob that is the signed form of something else: its signature would count as that', () => {
    const messages = [
      formats.dsse.message(statement({}), now),
      formats.bundle.message(image(), now),
      formats['simple-signing'].message(image(), now),
    ].map((toSign) => (toSign.kind === 'message' ? text(toSign.message) : ''));
    const [, , payload = ''] = messages;
    const disguised = [
      ...messages,
      ` \n\t${payload}`,
      payload.replace('critical', 'Critical'),
      payload.replace('critical', 'CRITIC\\u0041L'),
      payload.replace('{', '{"x":1,"critical":null,'),
      `${payload.slice(0, -1)},"pad":"${'x'.repeat(100_000)}"}`,
    ];
    for (const each of disguised) {
      const signable: Signable = {
        kind: 'blob',
        name: 'b',
        digest: sha256(Buffer.from(each)),
        content: Buffer.from(each),
      };
      refuses('CONFUSABLE_CONTENT', () => formats.bundle.message(signable, now));
    }
    for (const harmless of ['', '{}', '{"name":"critical"}', '["critical"]', '{broken "critical"', 'a DSSEv1 4 t']) {
      const bytes = Buffer.from(harmless);
      const signable: Signable = { kind: 'blob', name: 'b', digest: sha256(bytes), content: bytes };
      assert.deepEqual(formats.bundle.message(signable, now), { kind: 'message', message: bytes });
    }
  });
});

test('each format knows its media types, and no other', () => {
  assert.equal(formatOf('application/vnd.dev.cosign.simplesigning.v1+json')?.name, 'simple-signing');
  assert.equal(formatOf('application/vnd.dsse.envelope.v1+json')?.name, 'dsse');
  assert.equal(formatOf('application/vnd.dev.sigstore.bundle.v0.3+json')?.name, 'bundle');
  assert.equal(formatOf('application/vnd.dev.sigstore.bundle+json;version=0.1')?.name, 'bundle');
  for (const type of ['', 'text/plain', 'application/json', 'application/vnd.in-toto+json', 'constructor']) {
    assert.equal(formatOf(type), undefined);
  }
});

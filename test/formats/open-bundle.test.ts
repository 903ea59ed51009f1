import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { formats } from '../../src/formats/formats.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';
import { type Json, b64, blobBundle, bundle, open, paths, refused, replaced } from './documents.ts';

describe('bundle', () => {
  test('exactly one kind of content and one of material', () => {
    refused(() => open.bundle({ ...bundle, messageSignature: blobBundle.messageSignature }));
    refused(() => open.bundle({ mediaType: bundle.mediaType, verificationMaterial: bundle.verificationMaterial }));
    const certificate = { rawBytes: b64('der') };
    refused(() => open.bundle({ ...bundle, verificationMaterial: { ...bundle.verificationMaterial, certificate } }));
    refused(() => open.bundle({ ...bundle, verificationMaterial: {} }));
  });

  test('with a certificate it opens, and says so', () => {
    const one = { ...bundle, verificationMaterial: { certificate: { rawBytes: b64('der') } } };
    assert.equal(open.bundle(one).material, 'certificate');
    const chain = { x509CertificateChain: { certificates: [{ rawBytes: b64('der') }] } };
    const old = { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.2' };
    assert.equal(open.bundle({ ...old, verificationMaterial: chain }).material, 'certificate');
    refused(() => open.bundle({ ...bundle, verificationMaterial: chain }));
    refused(() => open.bundle({ ...old, verificationMaterial: { x509CertificateChain: { certificates: [] } } }));
    refused(() => open.bundle({ ...old, verificationMaterial: { x509CertificateChain: {} } }));
  });

  test('unknown members are refused, as protojson does', () => {
    for (const path of paths(bundle)) {
      const at = path.reduce<Json>((json, part) => (json as Record<string | number, Json>)[part] ?? null, bundle);
      if (typeof at !== 'object' || at === null || Array.isArray(at)) continue;
      refused(() => open.bundle(replaced(bundle, [...path, 'unknown'], 1)));
    }
    refused(() => open.bundle({ ...bundle, unknown: 1 }));
    refused(() => open.bundle({ ...bundle, media_type: bundle.mediaType }));
  });

  test('media types of v0.1 to v0.3 and no other', () => {
    const types = ['0.1', '0.2', '0.3'].map((version) => `application/vnd.dev.sigstore.bundle+json;version=${version}`);
    for (const mediaType of [...types, bundle.mediaType]) assert.ok(open.bundle({ ...bundle, mediaType }));
    for (const mediaType of [
      'application/vnd.dev.sigstore.bundle+json;version=0.4',
      'application/vnd.dev.sigstore.bundle.v0.1+json',
      'application/vnd.dev.sigstore.bundle.v0.4+json',
      'application/vnd.dev.sigstore.bundle.v0.3+json ',
      'application/vnd.dev.sigstore.bundle',
      'constructor',
      '__proto__',
    ]) {
      refused(() => open.bundle({ ...bundle, mediaType }));
    }
  });

  test('v0.1 needs the promise, later ones the proof with its checkpoint', () => {
    const entry = ['verificationMaterial', 'tlogEntries', 0];
    const v01 = { ...bundle, mediaType: 'application/vnd.dev.sigstore.bundle+json;version=0.1' };
    assert.ok(open.bundle(replaced(v01, [...entry, 'inclusionProof'], undefined)));
    refused(() => open.bundle(replaced(v01, [...entry, 'inclusionPromise'], undefined)));
    assert.ok(open.bundle(replaced(bundle, [...entry, 'inclusionPromise'], undefined)));
    refused(() => open.bundle(replaced(bundle, [...entry, 'inclusionProof'], undefined)));
    refused(() => open.bundle(replaced(bundle, [...entry, 'inclusionProof', 'checkpoint'], undefined)));
  });

  test('no negative, fractional or over-long number in the log', () => {
    for (const field of ['logIndex', 'integratedTime']) {
      for (const value of ['-1', '1.5', '1e3', '007', '+1', ' 1', '99999999999999999999', -1, 1.5, 2 ** 60]) {
        refused(() => open.bundle(replaced(bundle, ['verificationMaterial', 'tlogEntries', 0, field], value)));
      }
      for (const value of ['0', '9007199254740993', 12, null, undefined]) {
        assert.ok(open.bundle(replaced(bundle, ['verificationMaterial', 'tlogEntries', 0, field], value)));
      }
    }
  });

  test('only canonical base64', () => {
    for (const sig of ['c2ln=', 'c2l', 'c2ln\n', ' c2ln', 'c2-n', 'c2l_', 'c2lnYQ', 'c2lnYR==', 'c*ln', '====']) {
      refused(() => open.bundle(replaced(bundle, ['dsseEnvelope', 'signatures', 0, 'sig'], sig)));
      refused(() => open.bundle(replaced(blobBundle, ['messageSignature', 'signature'], sig)));
    }
  });

  test('exactly one DSSE signature', () => {
    const one = { sig: b64('sig') };
    refused(() => open.bundle(replaced(bundle, ['dsseEnvelope', 'signatures'], [one, one])));
    refused(() => open.dsse({ ...bundle.dsseEnvelope, signatures: [one, one] }));
    refused(() => open.dsse({ ...bundle.dsseEnvelope, signatures: [] }));
  });

  test('a payload of another type is refused', () => {
    for (const type of ['', 'application/json', 'application/vnd.in-toto+json ', 'APPLICATION/vnd.in-toto+json']) {
      refused(() => open.bundle(replaced(bundle, ['dsseEnvelope', 'payloadType'], type)), /^WRONG_PAYLOAD_TYPE$/);
      refused(() => open.dsse({ ...bundle.dsseEnvelope, payloadType: type }), /^WRONG_PAYLOAD_TYPE$/);
    }
  });

  test('a message digest fits its algorithm', () => {
    const at = ['messageSignature', 'messageDigest'];
    const of = (bytes: number): string => Buffer.alloc(bytes, 1).toString('base64');
    for (const [algorithm, bytes] of [
      ['SHA2_256', 32],
      ['SHA2_384', 48],
      ['SHA2_512', 64],
      [1, 32],
      [3, 64],
    ] as const) {
      const opened = open.bundle(replaced(blobBundle, at, { algorithm, digest: of(bytes) }));
      assert.equal(opened.messageDigest?.length, bytes);
    }
    for (const [algorithm, bytes] of [
      ['SHA2_256', 31],
      ['SHA2_256', 48],
      ['SHA3_256', 32],
      [0, 32],
      ['sha256', 32],
      [4, 32],
    ] as const) {
      refused(() => open.bundle(replaced(blobBundle, at, { algorithm, digest: of(bytes) })));
    }
    refused(() => open.bundle(replaced(blobBundle, at, { digest: of(32) })));
    assert.equal(open.bundle(replaced(blobBundle, at, {})).messageDigest, undefined);
  });

  test("cosign's older blob bundle", () => {
    const old = { base64Signature: b64('sig'), cert: '', rekorBundle: { SignedEntryTimestamp: 'x', Payload: {} } };
    assert.deepEqual(open.bundle(old).content, { kind: 'blob' });
    assert.equal(open.bundle(old).material, 'key');
    for (const [cert, material] of [
      ['-----BEGIN CERTIFICATE-----', 'key-or-certificate'],
      [b64('-----BEGIN CERTIFICATE-----'), 'key-or-certificate'],
      [b64('-----BEGIN PUBLIC KEY-----'), 'key'],
    ] as const) {
      assert.equal(open.bundle({ ...old, cert }).material, material);
    }
    for (const base64Signature of ['', null, 7, 'c2l', [b64('sig')]])
      refused(() => open.bundle({ ...old, base64Signature }));
  });

  test("cosign's older bundle of an attestation: the envelope stands where the signature would", () => {
    const { dsseEnvelope } = bundle;
    const old = (envelope: Json) => ({ base64Signature: b64(JSON.stringify(envelope)), cert: '' });
    const { format, content, signature, message } = open.bundle(bundle);
    const opened = open.bundle(old(dsseEnvelope));
    assert.deepEqual(
      { format: opened.format, content: opened.content, signature: opened.signature, message: opened.message },
      { format, content, signature, message },
    );
    refused(() => open.bundle(old({ ...dsseEnvelope, payloadType: 'text/plain' })));
    refused(() => open.bundle(old({ ...dsseEnvelope, signatures: [] })));
    for (const bytes of ['{', '{"payload":1}', '{x']) {
      assert.deepEqual(open.bundle({ base64Signature: b64(bytes) }).content, { kind: 'blob' }, bytes);
    }
  });
});

test('the bundles of other clients open or are refused as their owners say', { skip: skipWithoutVectors }, () => {
  const { bundles } = JSON.parse(readFileSync(vectorsPath('02-bundles', 'EXPECTED-bundles.json'), 'utf8'));
  for (const { file, content } of bundles) {
    const act = () => formats.bundle.open(readFileSync(vectorsPath('02-bundles', ...file.split('/'))), {});
    if (file.endsWith('dsse-2sigs.sigstore.json')) refused(act);
    else assert.equal(act().content.kind, content === 'dsse' ? 'statement' : 'blob', file);
  }
  assert.ok(bundles.length >= 15);
});

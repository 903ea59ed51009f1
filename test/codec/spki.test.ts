import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { ed25519Spki, readSpki, spkiHint, spkiOf } from '../../src/codec/spki.ts';

const ed25519 = generateKeyPairSync('ed25519').publicKey;

test('a raw Ed25519 key becomes the SPKI that OpenSSL writes', () => {
  const raw = Buffer.from(ed25519.export({ format: 'jwk' }).x ?? '', 'base64url');
  assert.deepEqual(ed25519Spki(raw), spkiOf(ed25519));
  assert.equal(ed25519Spki(raw.subarray(1)), undefined);
});

test('the hint is base64 of SHA-256', () => {
  const spki = spkiOf(ed25519);
  assert.equal(spkiHint(spki), createHash('sha256').update(spki).digest().toString('base64'));
});

test('only the one DER form of a key is read', () => {
  const spki = spkiOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey);
  assert.ok(readSpki(spki));
  assert.equal(readSpki(Buffer.concat([spki, Buffer.of(0)])), undefined);
  assert.equal(readSpki(spki.subarray(0, -1)), undefined);
  assert.equal(readSpki(Buffer.alloc(9000)), undefined);
  assert.equal(readSpki(Buffer.alloc(0)), undefined);
});

import assert from 'node:assert/strict';
import { createPublicKey, ECDH, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import { algorithmOf, algorithms, assertSignable } from '../../src/keys/algorithms.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { CountersignError } from '../../src/model/error.ts';

const names = Object.keys(algorithms) as AlgorithmName[];

const refusal = (action: () => unknown): CountersignError => {
  try {
    action();
  } catch (caught) {
    assert.ok(caught instanceof CountersignError);
    return caught;
  }
  assert.fail('was accepted');
};

const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).publicKey;

test('every row is filed under its own name and inherits none', () => {
  assert.equal(names.length, 3 + 18 + 1);
  for (const name of names) assert.equal(algorithms[name].name, name);
  assert.equal('toString' in algorithms, false);
});

test('the algorithm follows from the key', () => {
  assert.equal(algorithmOf(ec('P-256')), 'ecdsa-p256-sha256');
  assert.equal(algorithmOf(ec('P-384')), 'ecdsa-p384-sha384');
  assert.equal(algorithmOf(ec('P-521')), 'ecdsa-p521-sha512');
  assert.equal(algorithmOf(generateKeyPairSync('ed25519').publicKey), 'ed25519');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  assert.equal(algorithmOf(rsa), 'rsa-pkcs1v15-2048-sha256');
  assert.equal(algorithmOf(rsa, { padding: 'pss' }), 'rsa-pss-2048-sha256');
  assert.equal(algorithmOf(rsa, { hash: 'sha512' }), 'rsa-pkcs1v15-2048-sha512');
});

test('keys that cosign and Sigstore refuse are refused, with the reason', () => {
  const refused: readonly (readonly [KeyObject, RegExp])[] = [
    [ec('secp256k1'), /secp256k1/],
    [ec('brainpoolP256r1'), /brainpoolP256r1/],
    [generateKeyPairSync('ed448').publicKey, /ed448/],
    [generateKeyPairSync('x25519').publicKey, /x25519/],
    [generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey, /1024 bits/],
    [generateKeyPairSync('rsa', { modulusLength: 2056 }).publicKey, /2056 bits/],
    [generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).publicKey, /exponent 3/],
    [generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey, /rsa-pss/],
  ];
  for (const [key, words] of refused) {
    const error = refusal(() => algorithmOf(key));
    assert.equal(error.code, 'failed_precondition');
    assert.equal(error.reason, 'KEY_UNSUPPORTED');
    assert.match(error.message, words);
    assert.match(error.message, /Supported are ECDSA P-256/);
  }
});

test('a compressed point is refused', () => {
  const spki = ec('P-256').export({ type: 'spki', format: 'der' });
  const point = ECDH.convertKey(spki.subarray(-65), 'prime256v1', undefined, undefined, 'compressed') as Buffer;
  const header = Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex');
  const key = createPublicKey({ key: Buffer.concat([header, point]), format: 'der', type: 'spki' });
  assert.match(refusal(() => algorithmOf(key)).message, /compressed/);
});

test('a bare SHA-256 digest fits only where the algorithm hashes with SHA-256', () => {
  for (const name of names) {
    assertSignable(name, 'message');
    if (algorithms[name].hash === 'sha256') assertSignable(name, 'digest');
    else assert.equal(refusal(() => assertSignable(name, 'digest')).reason, 'DIGEST_NOT_SUPPORTED', name);
  }
  assert.match(refusal(() => assertSignable('ecdsa-p384-sha384', 'digest')).message, /sha384.*Send the content/);
  assert.match(refusal(() => assertSignable('ed25519', 'digest')).message, /whole messages.*Send the content/);
});

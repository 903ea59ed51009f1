import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { parsePublicKeyPem, publicKeyJwk, publicKeyPem } from '../../src/keys/public-key.ts';
import { CountersignError } from '../../src/model/error.ts';

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = p256.publicKey.export({ type: 'spki', format: 'pem' }).toString();

const refused = (text: string): string => {
  try {
    parsePublicKeyPem(text, 'keys[0].pem');
  } catch (caught) {
    assert.ok(caught instanceof CountersignError);
    assert.equal(caught.code, 'invalid_argument');
    assert.equal(caught.violations[0]?.field, 'keys[0].pem');
    return caught.violations[0]?.description ?? '';
  }
  assert.fail('was accepted');
};

test('PEM in, PEM out', () => {
  const key = parsePublicKeyPem(pem);
  assert.equal(key.algorithm, 'ecdsa-p256-sha256');
  assert.equal(publicKeyPem(key.spki), pem);
});

test('PKCS#1 public keys are read, and leave as SPKI', () => {
  const pkcs1 = rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
  const key = parsePublicKeyPem(pkcs1);
  assert.equal(key.algorithm, 'rsa-pkcs1v15-2048-sha256');
  assert.equal(publicKeyPem(key.spki), rsa.publicKey.export({ type: 'spki', format: 'pem' }));
});

test('the JWK names use, algorithm and hint, and leads back to the key', () => {
  for (const [key, alg] of [
    [p256.publicKey, 'ES256'],
    [rsa.publicKey, 'RS256'],
    [generateKeyPairSync('ed25519').publicKey, 'EdDSA'],
  ] as const) {
    const parsed = parsePublicKeyPem(key.export({ type: 'spki', format: 'pem' }).toString());
    const jwk = publicKeyJwk(parsed);
    assert.equal(jwk.alg, alg);
    assert.equal(jwk['use'], 'sig');
    assert.equal(jwk.kid, parsed.hint);
    assert.equal('d' in jwk, false);
    assert.ok(createPublicKey({ key: jwk, format: 'jwk' }).equals(key));
  }
});

test('everything else is refused, with the field and the fix', () => {
  const privatePem = p256.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  assert.match(refused(privatePem), /private key.*send only the public key/);
  assert.match(refused(pem + privatePem), /private key/);
  assert.match(refused('-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END X-----'), /private key/);
  assert.match(refused('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'), /openssl x509/);
  assert.match(refused(''), /no PEM block/);
  assert.match(refused(pem + pem), /2 PEM blocks/);
  assert.match(refused('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----'), /not a public key/);
  assert.match(refused(' '.repeat(20_000)), /longer/);
  const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey;
  assert.match(refused(k1.export({ type: 'spki', format: 'pem' }).toString()), /secp256k1/);
});

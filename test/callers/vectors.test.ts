import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compactVerify } from 'jose';
import { fitsAlgorithm, parseKeySet } from '../../src/callers/key-set.ts';
import { CountersignError } from '../../src/model/error.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';
import { pinnedCallers } from './forge.ts';

/** Without the vectors these tests say so and check nothing; in CI that fails. */
const read = (...parts: readonly string[]) =>
  JSON.parse(readFileSync(vectorsPath('06-jwt-oidc', 'jose-cookbook', ...parts), 'utf8'));

const cookbook = [
  '4_1.rsa_v15_signature',
  '4_2.rsa-pss_signature',
  '4_3.ecdsa_signature',
  '4_4.hmac-sha2_integrity_protection',
];
const publicKeys = () => ['3_1.ec_public_key', '3_3.rsa_public_key'].map((name) => read('jwk', `${name}.json`));
const otherKeys = () =>
  [
    '3_2.ec_private_key',
    '3_4.rsa_private_key',
    '3_5.symmetric_key_mac_computation',
    '3_6.symmetric_key_encryption',
  ].map((name) => read('jwk', `${name}.json`));
const keySet = (keys: readonly unknown[]) => parseKeySet(Buffer.from(JSON.stringify({ keys })));

test('RFC 7520: of its keys, the public ones are read and verify its signatures; private and symmetric ones are passed over', {
  skip: skipWithoutVectors,
}, async () => {
  const keys = keySet([...publicKeys(), ...otherKeys()]);
  const candidates = keys.get('bilbo.baggins@hobbiton.example') ?? [];
  assert.deepEqual([keys.size, candidates.map(({ publicKey }) => publicKey.asymmetricKeyType)], [1, ['ec', 'rsa']]);
  assert.throws(() => keySet(otherKeys()), /no key that can verify/);

  const verified: string[] = [];
  for (const name of cookbook) {
    const { input, output } = read('jws', `${name}.json`);
    for (const key of candidates.filter((candidate) => fitsAlgorithm(candidate, input.alg))) {
      const { payload } = await compactVerify(output.compact, key.publicKey, { algorithms: [input.alg] });
      assert.equal(Buffer.from(payload).toString(), input.payload);
      verified.push(input.alg);
    }
  }
  assert.deepEqual(verified, ['RS256', 'PS384', 'ES512']);
  return undefined;
});

test('RFC 7520: its messages are no tokens, however well they are signed', { skip: skipWithoutVectors }, async () => {
  const { identify } = pinnedCallers(publicKeys(), { algorithms: ['RS256', 'PS384', 'ES512'] });
  for (const name of cookbook) {
    await assert.rejects(identify(read('jws', `${name}.json`).output.compact), (error: unknown) => {
      assert.ok(error instanceof CountersignError);
      assert.equal(`${error.code} ${error.reason}`, 'unauthenticated TOKEN_MALFORMED');
      return true;
    });
  }
  return undefined;
});

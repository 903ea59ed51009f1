import assert from 'node:assert/strict';
import { constants, createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { ecdsaRawToDer } from '../../src/codec/ecdsa.ts';
import { spkiOf } from '../../src/codec/spki.ts';
import { algorithms } from '../../src/keys/algorithms.ts';
import { verifySignature, verifySignatureInBackground } from '../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { ToSign } from '../../src/model/signature.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';

type Vectors = {
  readonly testGroups: readonly {
    readonly publicKeyDer: string;
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: 'valid' | 'invalid' | 'acceptable';
    }[];
  }[];
};

const wycheproof: readonly (readonly [file: string, algorithm: AlgorithmName, tests: number])[] = [
  ['ecdsa_secp256r1_sha256_test.json', 'ecdsa-p256-sha256', 484],
  ['ecdsa_secp256r1_sha256_p1363_test.json', 'ecdsa-p256-sha256', 262],
  ['ecdsa_secp384r1_sha384_test.json', 'ecdsa-p384-sha384', 504],
  ['ecdsa_secp521r1_sha512_test.json', 'ecdsa-p521-sha512', 542],
  ['ed25519_test.json', 'ed25519', 151],
  ['rsa_signature_2048_sha256_test.json', 'rsa-pkcs1v15-2048-sha256', 259],
  ['rsa_signature_3072_sha256_test.json', 'rsa-pkcs1v15-3072-sha256', 259],
  ['rsa_signature_4096_sha256_test.json', 'rsa-pkcs1v15-4096-sha256', 258],
  ['rsa_pss_2048_sha256_mgf1_32_test.json', 'rsa-pss-2048-sha256', 108],
  ['rsa_pss_4096_sha256_mgf1_32_test.json', 'rsa-pss-4096-sha256', 108],
];

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const digestOf = (message: Uint8Array): ToSign => ({
  kind: 'digest',
  digest: createHash('sha256').update(message).digest(),
});

for (const [file, algorithm, count] of wycheproof) {
  test(`Wycheproof ${file}: message mode`, { skip: skipWithoutVectors }, () => {
    const { testGroups }: Vectors = JSON.parse(readFileSync(vectorsPath('03-wycheproof', file), 'utf8'));
    let seen = 0;
    for (const group of testGroups) {
      const key = { algorithm, spki: hex(group.publicKeyDer) };
      for (const { tcId, comment, msg, sig, result } of group.tests) {
        seen += 1;
        // The raw form is not ours: it is converted first, and what does not convert is refused.
        const signature = file.includes('p1363') ? ecdsaRawToDer(hex(sig), 'P-256') : hex(sig);
        const accepted =
          signature !== undefined && verifySignature(key, { kind: 'message', message: hex(msg) }, signature);
        // "acceptable" are signatures whose DigestInfo lacks its NULL: nobody who signs for us makes those.
        assert.equal(accepted, result === 'valid', `${tcId} ${comment}`);
      }
    }
    assert.equal(seen, count);
  });
}

for (const [file, algorithm] of wycheproof.filter(([file]) => !file.includes('p1363'))) {
  test(`Wycheproof ${file}: in the background, many at once, the same`, { skip: skipWithoutVectors }, async () => {
    const { testGroups }: Vectors = JSON.parse(readFileSync(vectorsPath('03-wycheproof', file), 'utf8'));
    for (const group of testGroups) {
      const key = { algorithm, spki: hex(group.publicKeyDer) };
      const verdicts = group.tests.map(({ msg, sig }) =>
        verifySignatureInBackground(key, { kind: 'message', message: hex(msg) }, hex(sig)),
      );
      assert.deepEqual(
        await Promise.all(verdicts),
        group.tests.map(({ result }) => result === 'valid'),
      );
    }
  });
}

for (const [file, algorithm] of wycheproof.filter(([, name]) => algorithms[name].hash === 'sha256')) {
  test(`Wycheproof ${file}: digest mode agrees`, { skip: skipWithoutVectors }, () => {
    const { testGroups }: Vectors = JSON.parse(readFileSync(vectorsPath('03-wycheproof', file), 'utf8'));
    // ECDSA over a digest takes milliseconds, so of its many groups every eighth is tried.
    const groups = testGroups.filter((_, index) => testGroups.length < 10 || index % 8 === 0);
    for (const group of groups) {
      const key = { algorithm, spki: hex(group.publicKeyDer) };
      for (const { tcId, comment, msg, sig, result } of group.tests) {
        const signature = file.includes('p1363') ? ecdsaRawToDer(hex(sig), 'P-256') : hex(sig);
        const accepted = signature !== undefined && verifySignature(key, digestOf(hex(msg)), signature);
        assert.equal(accepted, result === 'valid', `${tcId} ${comment}`);
      }
    }
  });
}

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed = generateKeyPairSync('ed25519');
const message = Buffer.from('what was signed');
const made: readonly (readonly [AlgorithmName, KeyObject, Buffer])[] = [
  ['ecdsa-p256-sha256', p256.publicKey, sign('sha256', message, p256.privateKey)],
  ['rsa-pkcs1v15-2048-sha256', rsa.publicKey, sign('sha256', message, rsa.privateKey)],
  [
    'rsa-pss-2048-sha256',
    rsa.publicKey,
    sign('sha256', message, {
      key: rsa.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    }),
  ],
  ['ed25519', ed.publicKey, sign(null, message, ed.privateKey)],
];

for (const [algorithm, keyObject, signature] of made) {
  const modes: readonly ToSign[] =
    algorithm === 'ed25519' ? [{ kind: 'message', message }] : [{ kind: 'message', message }, digestOf(message)];
  for (const toSign of modes) {
    test(`${algorithm}, ${toSign.kind}: one changed bit, byte more or less, or another key is refused`, () => {
      const key = { algorithm, spki: spkiOf(keyObject) };
      assert.ok(verifySignature(key, toSign, signature));
      assert.ok(verifySignature({ algorithm, keyObject }, toSign, signature));
      fc.assert(
        fc.property(fc.nat({ max: signature.length * 8 - 1 }), (bit) => {
          const changed = Buffer.from(signature);
          changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          assert.equal(verifySignature(key, toSign, changed), false);
        }),
        { numRuns: 30 },
      );
      for (const bad of [signature.subarray(1), signature.subarray(0, -1), Buffer.concat([signature, Buffer.of(0)])]) {
        assert.equal(verifySignature(key, toSign, bad), false);
      }
      assert.equal(verifySignature(key, toSign, Buffer.alloc(0)), false);
      for (const [other, otherKey] of made) {
        if (other === algorithm) continue;
        // A key of another type than the algorithm says is refused, not an error.
        assert.equal(verifySignature({ algorithm, spki: spkiOf(otherKey) }, toSign, Buffer.from('x')), false);
      }
    });
  }
}

test('PSS without the zero byte that the signature begins with is refused', async () => {
  const key = { algorithm: 'rsa-pss-2048-sha256', keyObject: rsa.publicKey } as const;
  for (let round = 0; ; round += 1) {
    assert.ok(round < 10_000, 'one in 256 begins with zero');
    const input = {
      key: rsa.privateKey,
      padding: constants.RSA_PKCS1_PSS_PADDING,
      saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
    };
    const signature = sign('sha256', message, input);
    if (signature[0] !== 0) continue;
    for (const toSign of [{ kind: 'message', message } as const, digestOf(message)]) {
      assert.ok(verifySignature(key, toSign, signature));
      assert.equal(verifySignature(key, toSign, signature.subarray(1)), false, toSign.kind);
      assert.equal(await verifySignatureInBackground(key, toSign, signature.subarray(1)), false, toSign.kind);
    }
    return;
  }
});

test('high and low s are both accepted, as cosign makes both', () => {
  const seen = new Set<boolean>();
  for (let round = 0; seen.size < 2 && round < 100; round += 1) {
    const signature = sign('sha256', message, p256.privateKey);
    const raw = sign('sha256', message, { key: p256.privateKey, dsaEncoding: 'ieee-p1363' });
    seen.add((raw[32] ?? 0) >= 0x80);
    const der = ecdsaRawToDer(raw, 'P-256');
    assert.ok(der);
    const key = { algorithm: 'ecdsa-p256-sha256', keyObject: p256.publicKey } as const;
    assert.ok(verifySignature(key, { kind: 'message', message }, der));
    assert.ok(verifySignature(key, digestOf(message), signature));
  }
  assert.equal(seen.size, 2);
});

test('PSS with the largest salt, which is what Vault makes unasked, is refused in both modes', () => {
  const signature = sign('sha256', message, {
    key: rsa.privateKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_MAX_SIGN,
  });
  const key = { algorithm: 'rsa-pss-2048-sha256', keyObject: rsa.publicKey } as const;
  assert.equal(verifySignature(key, { kind: 'message', message }, signature), false);
  assert.equal(verifySignature(key, digestOf(message), signature), false);
});

test('a digest of another length is refused', () => {
  const key = { algorithm: 'ecdsa-p256-sha256', keyObject: p256.publicKey } as const;
  assert.equal(verifySignature(key, { kind: 'digest', digest: Buffer.alloc(20) }, Buffer.alloc(70)), false);
});

test('a digest where the content is needed is an error that says so', () => {
  for (const [algorithm, curve] of [
    ['ecdsa-p384-sha384', 'P-384'],
    ['ecdsa-p521-sha512', 'P-521'],
  ] as const) {
    const keyObject = createPublicKey(generateKeyPairSync('ec', { namedCurve: curve }).privateKey);
    assert.throws(
      () => verifySignature({ algorithm, keyObject }, digestOf(message), Buffer.alloc(70)),
      (error) => error instanceof CountersignError && error.reason === 'DIGEST_NOT_SUPPORTED',
    );
  }
});

test('bytes that are no public key are an error', () => {
  assert.throws(
    () =>
      verifySignature({ algorithm: 'ed25519', spki: Buffer.from('nonsense') }, { kind: 'message', message }, message),
    (error) => error instanceof CountersignError && error.reason === 'KEY_UNSUPPORTED',
  );
});

test('a thousand foreign keys do not grow the cache without end, and old ones still verify', () => {
  const [algorithm, keyObject, signature] = made[0] ?? assert.fail();
  for (let round = 0; round < 1100; round += 1) {
    const raw = Buffer.alloc(32, 1);
    raw.writeUInt16BE(round);
    const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
    verifySignature({ algorithm: 'ed25519', spki }, { kind: 'message', message }, Buffer.alloc(64));
  }
  assert.ok(verifySignature({ algorithm, spki: spkiOf(keyObject) }, { kind: 'message', message }, signature));
});

// What a token tells of a key, in all the forms that tokens have for it.
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import {
  assertInTime,
  evidenceOf,
  originOf,
  protectionOf,
  readSignature,
  readVersion,
  signInput,
} from '../../src/keys/pkcs11/key.ts';
import type { Attributes, FoundKey, MechanismName, TokenFacts } from '../../src/keys/pkcs11/protocol.ts';
import { CountersignError } from '../../src/model/error.ts';
import { selfSigned } from '../certificates.ts';

const mechanisms: MechanismName[] = ['ecdsa', 'rsa-pkcs1v15', 'rsa-pss', 'eddsa'];
const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).publicKey;
const found = (own: Attributes, more: Partial<FoundKey> = {}): FoundKey => ({
  key: 0,
  private: own,
  mechanisms,
  ...more,
});
const read = (key: FoundKey, padding?: 'pss') => readVersion(key, 'release', { padding }, 'the token');
const reasonOf = (work: () => unknown): string => {
  try {
    work();
  } catch (caught) {
    assert.ok(caught instanceof CountersignError, String(caught));
    return `${caught.reason}: ${caught.message}`;
  }
  return assert.fail('was not refused');
};

const p256 = '06082a8648ce3d030107';

test('points: in an OCTET STRING, in a BIT STRING, bare', () => {
  const curves = [
    ['prime256v1', p256, 65, '0441'],
    ['secp384r1', '06052b81040022', 97, '0461'],
    ['secp521r1', '06052b81040023', 133, '048185'],
  ] as const;
  for (const [curve, ecParams, bytes, prefix] of curves) {
    const key = ec(curve);
    const point = spki(key).subarray(-bytes).toString('hex');
    const bits = bytes + 1 < 128 ? `03${(bytes + 1).toString(16).padStart(2, '0')}` : `0381${(bytes + 1).toString(16)}`;
    for (const ecPoint of [prefix + point, point, `${bits}00${point}`]) {
      const version = read(found({ keyType: 3 }, { public: { keyType: 3, ecParams, ecPoint } }));
      assert.deepEqual(Buffer.from(version.spki), spki(key), `${curve} ${ecPoint.slice(0, 6)}`);
      assert.match(version.version, /^[0-9a-f]{64}$/);
    }
  }
  const edwards = generateKeyPairSync('ed25519').publicKey;
  const raw = spki(edwards).subarray(-32).toString('hex');
  for (const ecPoint of [raw, `0420${raw}`, `032100${raw}`]) {
    assert.equal(read(found({ keyType: 0x40 }, { public: { ecPoint } })).algorithm, 'ed25519');
  }
});

test('RSA from the public or the private key, with leading zeros; SPKI; a certificate', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const jwk = rsa.export({ format: 'jwk' });
  const modulus = Buffer.from(jwk.n ?? '', 'base64url').toString('hex');
  const parts = { modulus: `00${modulus}`, publicExponent: '00010001' };
  for (const key of [found({ keyType: 0 }, { public: parts }), found({ keyType: 0, ...parts })]) {
    assert.deepEqual(Buffer.from(read(key).spki), spki(rsa));
    assert.equal(read(key, 'pss').algorithm, 'rsa-pss-2048-sha256');
  }
  const key = ec('prime256v1');
  const info = found({ keyType: 3, publicKeyInfo: spki(key).toString('hex') });
  assert.deepEqual(Buffer.from(read(info).spki), spki(key));
  const der = Buffer.from(selfSigned().cert.replace(/-----[^-]+-----|\s/g, ''), 'base64').toString('hex');
  assert.match(read(found({ keyType: 3 }, { certificate: { value: der } })).algorithm, /./);
});

test('keys that cannot be used, and why', () => {
  const point = `0441${spki(ec('prime256v1')).subarray(-65).toString('hex')}`;
  const good = { public: { ecParams: p256, ecPoint: point } };
  const cases: readonly (readonly [FoundKey, RegExp])[] = [
    [found({ keyType: 3, sign: false }, good), /KEY_UNSUPPORTED: .*CKA_SIGN/],
    [found({ keyType: 3, alwaysAuthenticate: true }, good), /KEY_UNSUPPORTED: .*CKA_ALWAYS_AUTHENTICATE/],
    [found({ keyType: 3 }, { ...good, mechanisms: ['eddsa'] }), /KEY_UNSUPPORTED: .*CKM_ECDSA/],
    [found({ keyType: 0x1f }), /KEY_UNSUPPORTED: .*CKA_KEY_TYPE 31/],
    [found({ keyType: 3 }, { public: { ecParams: '06052b8104000a', ecPoint: point } }), /KEY_UNSUPPORTED: .*curve/],
    [found({ keyType: 3 }, { public: { ecParams: p256, ecPoint: `0421${'02'.repeat(33)}` } }), /compressed/],
    [found({ keyType: 3 }, { public: { ecParams: p256, ecPoint: `0441${'04'.repeat(65)}` } }), /KEY_ANSWER_MALFORMED/],
    [found({ keyType: 3 }, { public: { ecParams: p256, ecPoint: '04' } }), /KEY_ANSWER_MALFORMED/],
    [found({ keyType: 3 }), /KEY_PUBLIC_MISSING: .*same CKA_ID/],
    [found({ keyType: 3 }, { certificate: { value: '3000' } }), /KEY_PUBLIC_MISSING/],
  ];
  for (const [key, words] of cases)
    assert.match(
      reasonOf(() => read(key)),
      words,
    );
});

const token: TokenFacts = {
  label: 'release',
  serial: '1',
  manufacturer: 'Acme',
  model: 'HSM 9',
  firmware: '7.8',
  library: 'lib 1.0',
  slotFlags: 0x5,
  flags: 0x40d,
};
const kept = { sensitive: true, extractable: false, alwaysSensitive: true, neverExtractable: true, local: true };

test('protection is hsm only for a key that never was outside of hardware', () => {
  const levels: readonly (readonly [TokenFacts, Attributes, string])[] = [
    [token, kept, 'hsm'],
    [{ ...token, slotFlags: 1 }, kept, 'software'],
    [{ ...token, manufacturer: 'SoftHSM project' }, kept, 'software'],
    [token, { ...kept, sensitive: false }, 'software'],
    [token, { ...kept, extractable: true }, 'software'],
    [token, { ...kept, neverExtractable: false }, 'software'],
    [token, { ...kept, alwaysSensitive: false }, 'software'],
    [token, {}, 'software'],
  ];
  for (const [facts, own, level] of levels) assert.equal(protectionOf(facts, found(own)), level, JSON.stringify(own));
  const evidence = evidenceOf(token, found({ ...kept, id: '0a' }));
  assert.deepEqual(
    [evidence['CKF_HW_SLOT'], evidence['CKA_NEVER_EXTRACTABLE'], evidence['CKA_ID'], evidence['firmware']],
    ['true', 'true', '0a', '7.8'],
  );
  assert.ok(Object.keys(evidence).length <= 16);
  assert.deepEqual(
    [kept, { local: false }, {}].map((own) => originOf(found(own))),
    ['generated', 'imported', 'unknown'],
  );
});

test('the days of a key', () => {
  const point = spki(ec('prime256v1')).subarray(-65).toString('hex');
  const dated = (startDate?: string, endDate?: string) => {
    const hex = (text = '') => Buffer.from(text).toString('hex');
    const own = { keyType: 3, startDate: hex(startDate), endDate: hex(endDate) };
    return read(found(own, { public: { ecParams: p256, ecPoint: point } }));
  };
  const version = dated('20260301', '20260630');
  assert.deepEqual([version.validFrom, version.validUntil], ['2026-03-01T00:00:00.000Z', '2026-07-01T00:00:00.000Z']);
  const at = (time: string) => () => assertInTime(version, 'the token', Date.parse(time));
  at('2026-03-01T00:00:00Z')();
  at('2026-06-30T23:59:59Z')();
  assert.match(reasonOf(at('2026-02-28T23:59:59Z')), /^KEY_NOT_YET_VALID/);
  assert.match(reasonOf(at('2026-07-01T00:00:00Z')), /^KEY_EXPIRED/);
  for (const none of [dated(), dated('00000000', '99999999'), dated('\0\0\0\0\0\0\0\0', '')]) {
    assert.deepEqual([none.validFrom, none.validUntil], [undefined, undefined]);
  }
});

test('what goes to the token, and what comes back', () => {
  const point = spki(ec('secp521r1')).subarray(-133).toString('hex');
  const version = read(found({ keyType: 3 }, { public: { ecParams: '06052b81040023', ecPoint: point } }));
  assert.equal(signInput(version, { kind: 'message', message: Buffer.alloc(9) }).data.length, 64);
  assert.match(
    reasonOf(() => signInput(version, { kind: 'digest', digest: Buffer.alloc(32) })),
    /^DIGEST_NOT_SUPPORTED/,
  );
  const short = Buffer.concat([Buffer.alloc(65), Buffer.of(1), Buffer.alloc(65), Buffer.of(0x81)]);
  assert.equal(Buffer.from(readSignature(short, version, 'the token')).toString('hex'), '300702010102020081');
  for (const length of [0, 131, 133]) {
    assert.match(
      reasonOf(() => readSignature(Buffer.alloc(length, 1), version, 'it')),
      /^KEY_ANSWER_MALFORMED/,
    );
  }
  const edwards = spki(generateKeyPairSync('ed25519').publicKey).subarray(-32).toString('hex');
  const large = { kind: 'message', message: Buffer.alloc(4 * 1024 * 1024 + 1) } as const;
  const ed = read(found({ keyType: 0x40 }, { public: { ecPoint: edwards } }));
  assert.match(
    reasonOf(() => signInput(ed, large)),
    /^MESSAGE_TOO_LARGE/,
  );
});

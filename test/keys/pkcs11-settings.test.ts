import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pkcs11Settings, pkcs11Target } from '../../src/keys/pkcs11/settings.ts';
import { keySettings } from '../../src/keys/settings.ts';

const base = { name: 'release', kind: 'pkcs11' };
const whole = { ...base, module: '/usr/lib/softhsm/libsofthsm2.so', token: 'release', label: 'signing' };

const target = (more: object) => {
  const { connection, key } = pkcs11Target(pkcs11Settings.parse(more));
  return JSON.parse(JSON.stringify({ ...connection, key })) as unknown;
};
const mistakes = (settings: unknown): string[] =>
  keySettings.safeParse(settings).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];

test('a key by fields, and the same by its reference', () => {
  const expected = {
    module: '/usr/lib/softhsm/libsofthsm2.so',
    token: { label: 'my token' },
    pinFile: '/run/secrets/pin',
    maxSessions: 8,
    key: { label: 'signing;key', id: '0aff' },
  };
  const fields = { ...whole, token: 'my token', label: 'signing;key', id: '0AFF', pinFile: '/run/secrets/pin' };
  assert.deepEqual(target(fields), expected);
  const path = 'pkcs11:token=my%20token;object=signing%3bkey;id=%0a%FF;type=private';
  for (const pinSource of [
    '/run/secrets/pin',
    'file:/run/secrets/pin',
    'file:///run/secrets/pin',
    '%2Frun/secrets/pin',
  ]) {
    const ref = `${path}?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=${pinSource}`;
    assert.deepEqual(target({ ...base, ref }), expected, pinSource);
  }
  const rest = { module: expected.module, pinFile: expected.pinFile };
  assert.deepEqual(target({ ...base, ref: path, ...rest }), expected);
  const many = 'pkcs11:token=t;manufacturer=Acme+Corp;model=M1;serial=00ab;slot-id=7;object=k';
  assert.deepEqual(target({ ...base, ref: many, module: '/m.so', pin: 'x', maxSessions: 1 }), {
    module: '/m.so',
    token: { label: 't', serial: '00ab', manufacturer: 'Acme+Corp', model: 'M1', slot: '7' },
    pin: 'x',
    maxSessions: 1,
    key: { label: 'k' },
  });
});

test('refused, each with its field and the fix', () => {
  const ref = (text: string) => ({ ...base, module: '/m.so', ref: text });
  const form = 'pkcs11:token=LABEL;object=KEY;';
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ ...whole, module: undefined }, /^module: must be set, or module-path in ref/],
    [{ ...whole, module: 'libsofthsm2.so' }, /^module: must be an absolute path/],
    [{ ...whole, token: undefined }, /^token: one of token, serial and slot/],
    [{ ...whole, token: 'x'.repeat(33) }, /^token: must have at most 32 bytes/],
    [{ ...whole, label: undefined }, /^label: one of label and id/],
    [{ ...whole, id: '0a1' }, /^id: must be an even number of hex digits/],
    [{ ...whole, id: '' }, /^id: /],
    [{ ...whole, pin: '' }, /^pin: must not be empty/],
    [{ ...whole, pin: 'secret-pin', pinFile: '/pin' }, /^pinFile: pin and pinFile cannot both/],
    [{ ...whole, maxSessions: 0 }, /^maxSessions: must be at least 1/],
    [{ ...whole, maxSessions: 257 }, /^maxSessions: must be at most 256/],
    [{ ...whole, slot: -1 }, /^slot: must be at least 0/],
    [ref('awskms:///alias/x'), new RegExp(`^ref: must be ${form}`)],
    [ref('pkcs11://token=t;object=k'), new RegExp(`^ref: must be ${form}`)],
    [ref('pkcs11:token=t'), /^ref: must name the key by object or id/],
    [ref('pkcs11:object=k'), /^token: one of token/],
    [ref('pkcs11:token=t;object=k?pin-value=secret-pin'), /^ref: must not hold a PIN.*pin-source or pinFile/],
    [ref('pkcs11:token=t;object=k?module-name=softhsm'), /^ref: must name the module by its path/],
    [ref('pkcs11:token=t;object=k?pin-source=|/bin/get-pin'), /^ref: must name a file in pin-source/],
    [ref('pkcs11:token=t;object=k?pin-source=https://x/pin'), /^ref: must name a file in pin-source/],
    [ref('pkcs11:token=t;object=k;type=public'), /^ref: has the attribute type, which is not used here/],
    [
      ref('pkcs11:token=t;object=k;x-vendor=1'),
      /^ref: has the attribute x-vendor, which is not used here: take it out/,
    ],
    [ref('pkcs11:token=t;token=u;object=k'), /^ref: has the attribute token twice/],
    [ref('pkcs11:token=;object=k'), /^ref: has the attribute token empty/],
    [ref('pkcs11:token=t;object=%ff'), /^ref: has the attribute object empty or not percent-encoded/],
    [ref('pkcs11:token=t t;object=k'), /^ref: has the attribute token .*not percent-encoded/],
    [ref('pkcs11:token=t;object=%4'), /^ref: .*not percent-encoded/],
    [ref('pkcs11:slot-id=x;object=k'), /^ref: must have a decimal number in slot-id/],
    [ref('pkcs11:token=t;object=k?module-path=/other.so'), /^module: must not be set: ref says it/],
    [{ ...ref('pkcs11:token=t;object=k'), token: 't' }, /^token: must not be set: ref says it/],
    [{ ...base, ref: 'pkcs11:token=t;object=k?module-path=m.so' }, /^ref: must have an absolute path/],
    [{ ...ref('pkcs11:token=t;object=k?pin-source=/p'), pin: 'secret-pin' }, /^pinFile: pin and pinFile cannot both/],
  ];
  for (const [settings, words] of cases) {
    const found = mistakes(settings);
    assert.ok(
      found.some((mistake) => words.test(mistake)),
      `${JSON.stringify(settings)}: ${found.join(' | ')}`,
    );
    assert.doesNotMatch(found.join(), /secret-pin/);
  }
});

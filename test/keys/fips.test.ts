// FIPS mode: what the configuration may say, and what a backend must state.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertFips, fipsFaults } from '../../src/keys/fips.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import type { KeyDescription } from '../../src/keys/port.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { CountersignError } from '../../src/model/error.ts';
import { realKey } from './scripted-key.ts';

const id = '1234abcd-12ab-34cd-56ef-1234567890ab';
const login = { method: 'token', token: 't' };
const vault = { name: 'v', kind: 'vault', address: 'https://vault.example', key: 'k', login };
const aws = { name: 'a', kind: 'aws', keyId: id, region: 'us-east-1' };
const gcp = { name: 'g', kind: 'gcp', project: 'p', location: 'global', keyRing: 'r', key: 'k' };
const azure = {
  name: 'z',
  kind: 'azure',
  vaultUrl: 'https://acme.managedhsm.azure.net',
  key: 'k',
  credential: { method: 'managed-identity' },
};
const pkcs11 = { name: 'h', kind: 'pkcs11', module: '/usr/lib/hsm.so', token: 't', label: 'k', pin: '1234' };

test('settings that FIPS mode does not allow are named, with the fix', () => {
  const cases: readonly (readonly [object, string | undefined])[] = [
    [{ name: 'l', kind: 'local', file: '/k.pem' }, 'keys.0.kind: keys in files or memory'],
    [{ name: 'l', kind: 'local', generate: 'ed25519' }, 'keys.0.kind: keys in files or memory'],
    [vault, 'keys.0.fipsCertificate: must be set'],
    [{ ...vault, fipsCertificate: 4497 }, undefined],
    [aws, 'keys.0.fips: must be true'],
    [{ ...aws, fips: false }, 'keys.0.fips: must be true'],
    [{ ...aws, fips: true }, undefined],
    [{ ...aws, endpoint: 'https://kms.us-east-1.amazonaws.com' }, 'keys.0.endpoint: must be a FIPS endpoint'],
    [{ ...aws, endpoint: 'https://kms-fips.us-east-1.amazonaws.com' }, undefined],
    [{ ...aws, endpoint: 'https://vpce-1.kms-fips.us-east-1.vpce.amazonaws.com' }, undefined],
    [{ ...aws, endpoint: 'https://kms-fips-not.example.com' }, 'keys.0.endpoint: must be a FIPS endpoint'],
    [{ name: 'a', kind: 'aws', ref: `awskms://kms.example/${id}` }, 'keys.0.ref: must be a FIPS endpoint'],
    [gcp, undefined],
    [azure, undefined],
    [
      { ...azure, vaultUrl: 'https://vault.example', disableChallengeResourceVerification: true },
      'keys.0.disableChallengeResourceVerification: must not be set',
    ],
    [pkcs11, 'keys.0.fipsCertificate: must be set'],
    [{ ...pkcs11, fipsCertificate: 3205 }, undefined],
  ];
  for (const [key, expected] of cases) {
    const [fault, ...more] = fipsFaults(keysSettings.parse([key]));
    const said = fault === undefined ? undefined : `${fault.path.join('.')}: ${fault.message}`;
    assert.equal(more.length, 0);
    if (expected === undefined) assert.equal(said, undefined, JSON.stringify(key));
    else assert.ok(said?.startsWith(expected), `${JSON.stringify(key)}: ${said}`);
  }
});

test('a key is used when its backend states a validated module', async () => {
  const { description } = await realKey();
  const judge = (settings: object, more: Partial<KeyDescription>): string => {
    try {
      assertFips(keySettings.parse(settings), { ...description, ...more });
      return 'used';
    } catch (caught) {
      assert.ok(caught instanceof CountersignError);
      assert.deepEqual([caught.code, caught.reason], ['failed_precondition', 'FIPS_REFUSED']);
      return caught.message;
    }
  };
  for (const protectionLevel of ['software', 'hsm'] as const) {
    assert.match(judge(gcp, { protectionLevel }), /states (software|hsm), and fips-140-2-l2 is needed/);
  }
  for (const protectionLevel of ['fips-140-2-l2', 'fips-140-2-l3', 'fips-140-3-l3'] as const) {
    for (const settings of [gcp, azure, { ...aws, fips: true }])
      assert.equal(judge(settings, { protectionLevel }), 'used');
  }
  const token = { ...pkcs11, fipsCertificate: 3205 };
  assert.match(judge(token, { protectionLevel: 'software' }), /states software, and hsm is needed/);
  assert.equal(judge(token, { protectionLevel: 'hsm' }), 'used');
  const build = { ...vault, fipsCertificate: 4497 };
  assert.match(judge(build, { evidence: { version: '1.21.0' } }), /states version 1\.21\.0, which is no FIPS build/);
  assert.match(judge(build, {}), /version unknown/);
  for (const version of ['1.19.0+ent.hsm.fips1402', '1.21.1+ent.fips1403']) {
    assert.equal(judge(build, { evidence: { version } }), 'used');
  }
});

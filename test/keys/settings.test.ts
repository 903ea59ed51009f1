import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { keysSettings } from '../../src/keys/configured.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { transitKeyName, vaultSettings } from '../../src/keys/vault/settings.ts';

const local = { name: 'dev', kind: 'local', generate: 'ecdsa-p256-sha256' };
const vault = {
  name: 'release',
  kind: 'vault',
  address: 'https://vault.example.com:8200',
  key: 'release',
  login: { method: 'token', token: 'secret-token' },
};

/** Every mistake as `path: message`. */
const mistakes = (settings: unknown): string[] => {
  const parsed = keySettings.safeParse(settings);
  assert.equal(parsed.success, false, 'was accepted');
  return parsed.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
};

test('accepted as they are written', () => {
  const good = [
    local,
    { ...local, generate: undefined, file: '/keys/cosign.key', passwordFile: '/keys/password', rsaPadding: 'pss' },
    { ...local, requireProtection: 'software' },
    vault,
    { ...vault, address: 'http://127.0.0.1:8200' },
    { ...vault, address: 'http://[::1]:8200' },
    { ...vault, address: 'http://vault.internal:8200', plainText: true },
    { ...vault, key: undefined, ref: 'openbao://my.key-1' },
    { ...vault, mount: 'team/transit', namespace: 'a/b', version: 3, caFile: '/ca.pem' },
    { ...vault, login: { method: 'approle', roleIdFile: '/role', secretIdFile: '/secret' } },
    { ...vault, login: { method: 'kubernetes', role: 'signer' } },
    { ...vault, login: { method: 'jwt', role: 'signer', tokenFile: '/token', mount: 'jwt-ci' } },
  ];
  for (const settings of good) assert.ok(keySettings.parse(settings), JSON.stringify(settings));
  const parsed = vaultSettings.parse({ ...vault, key: undefined, ref: 'hashivault://my.key-1' });
  assert.equal(transitKeyName(parsed), 'my.key-1');
  assert.equal(parsed.mount, 'transit');
});

test('refused, each with its field and the fix', () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ ...local, kind: 'cloud' }, /^kind: must be one of: local, vault, aws, gcp, azure, pkcs11$/],
    [{ ...local, name: 'Dev' }, /^name: must be 1 to 63 lower-case/],
    [{ ...local, name: '-dev' }, /^name: /],
    [{ ...local, name: 'a'.repeat(64) }, /^name: /],
    [{ ...local, typo: 1 }, /typo/],
    [{ ...local, generate: undefined }, /^file: exactly one of file and generate/],
    [{ ...local, file: '/x' }, /^file: exactly one of file and generate/],
    [{ ...local, password: 'x' }, /^password: has no meaning with generate/],
    [{ ...local, generate: undefined, file: '/x', password: '', passwordFile: '/y' }, /^passwordFile: .*both/],
    [{ ...local, generate: 'ecdsa-secp256k1' }, /^generate: /],
    [{ ...local, requireProtection: 'fips' }, /^requireProtection: /],
    [{ ...vault, address: 'vault.example.com' }, /^address: must be an address/],
    [{ ...vault, address: 'https://user:pass@vault' }, /^address: must be an address.*without user/],
    [{ ...vault, address: 'https://vault/v1' }, /^address: must not have a path/],
    [{ ...vault, address: 'http://vault.internal:8200' }, /^address: must be https.*plainText/],
    [{ ...vault, address: 'http://127.0.0.1.evil.example' }, /^address: must be https/],
    [{ ...vault, ref: 'hashivault://x' }, /^key: exactly one of key and ref/],
    [{ ...vault, key: undefined }, /^key: exactly one of key and ref/],
    [{ ...vault, key: undefined, ref: 'hashivault://mount/key' }, /^ref: must be hashivault:\/\/KEY/],
    [{ ...vault, key: 'a/../b' }, /^key: must be the name/],
    [{ ...vault, mount: '/transit' }, /^mount: must be the path/],
    [{ ...vault, mount: '../sys' }, /^mount: must not hold/],
    [{ ...vault, mount: 'transit?x' }, /^mount: must be the path/],
    [{ ...vault, version: 0 }, /^version: must be at least 1/],
    [{ ...vault, login: { method: 'token' } }, /^login\.tokenFile: exactly one/],
    [{ ...vault, login: { method: 'token', token: 'x', tokenFile: '/x' } }, /^login\.tokenFile: exactly one/],
    [{ ...vault, login: { method: 'approle', secretId: 'x' } }, /^login\.roleId: exactly one/],
    [{ ...vault, login: { method: 'oidc' } }, /^login\.method: /],
    [{ ...vault, login: { method: 'jwt', role: 'x' } }, /^login\.tokenFile: /],
    [{ ...vault, caFile: 'a\nb' }, /^caFile: must not hold control/],
  ];
  for (const [settings, words] of cases) {
    const found = mistakes(settings);
    assert.ok(
      found.some((mistake) => words.test(mistake)),
      `${JSON.stringify(settings)}: ${found.join(' | ')}`,
    );
    assert.doesNotMatch(found.join(), /secret-token|user:pass/);
  }
});

test('several mistakes are told at once', () => {
  assert.ok(mistakes({ ...vault, address: 'x', mount: '/', version: -1 }).length >= 3);
});

test('names are unique', () => {
  const parsed = keysSettings.safeParse([local, vault, { ...local, name: 'release' }]);
  assert.deepEqual(
    parsed.error?.issues.map(({ path, message }) => [path, message]),
    [[[2, 'name'], 'there is another key named release']],
  );
});

test('the schema can be printed', () => {
  const schema = JSON.stringify(z.toJSONSchema(keysSettings, { io: 'input' }));
  assert.match(schema, /passwordFile/);
  assert.match(schema, /"vault"/);
});

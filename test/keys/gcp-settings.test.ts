import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { keysSettings } from '../../src/keys/configured.ts';
import { gcpSettings, gcpTarget } from '../../src/keys/gcp/settings.ts';
import { keySettings } from '../../src/keys/settings.ts';

const gcp = { name: 'release', kind: 'gcp' };
const place = { project: 'my-project', location: 'europe-west3', keyRing: 'ring', key: 'release-key' };
const keyName = 'projects/my-project/locations/europe-west3/keyRings/ring/cryptoKeys/release-key';

const target = (settings: object) => {
  const { keyName: name, version } = gcpTarget(gcpSettings.parse({ ...gcp, ...settings }));
  return [name, version];
};

test('every way to write a key, and what becomes of it', () => {
  assert.deepEqual(target(place), [keyName, undefined]);
  assert.deepEqual(target({ ...place, version: 'latest' }), [keyName, undefined]);
  assert.deepEqual(target({ ...place, version: 12 }), [keyName, 12]);
  assert.deepEqual(target({ ...place, project: '123456789012' })[0], keyName.replace('my-project', '123456789012'));
  assert.deepEqual(target({ ...place, project: 'example.com:p' })[0], keyName.replace('my-project', 'example.com:p'));
  for (const endpoint of [
    'https://kms.internal:8443',
    'http://127.0.0.1:9000',
    'http://localhost:1',
    'http://[::1]:1',
  ]) {
    assert.deepEqual(target({ ...place, endpoint }), [keyName, undefined]);
  }
});

test('references as cosign writes them', () => {
  assert.deepEqual(target({ ref: `gcpkms://${keyName}` }), [keyName, undefined]);
  assert.deepEqual(target({ ref: `gcpkms://${keyName}`, version: 3 }), [keyName, 3]);
  assert.deepEqual(target({ ref: `gcpkms://${keyName}/cryptoKeyVersions/7` }), [keyName, 7]);
  assert.deepEqual(target({ ref: `gcpkms://${keyName}/versions/7` }), [keyName, 7]);
});

test('refused, each with its field and the right form', () => {
  const ref = `gcpkms://${keyName}`;
  const form = /^ref: must be gcpkms:\/\/projects\/PROJECT\/locations\/LOCATION\/keyRings\/RING\/cryptoKeys\/KEY, and/;
  const cases: readonly (readonly [object, RegExp])[] = [
    [{}, /^project: must be set \(project, location, keyRing and key\), or ref/],
    [{ ...place, keyRing: undefined }, /^keyRing: must be set/],
    [{ ...place, ref }, /^key: must not be set: ref names the key/],
    [{ ref: `${ref}/versions/7`, version: 3 }, /^version: must not be set: ref names a version/],
    [{ ref: `${ref}/versions/latest` }, form],
    [{ ref: `${ref}/versions/0` }, form],
    [{ ref: `${ref}/` }, form],
    [{ ref: `${ref}?version=1` }, form],
    [{ ref: 'gcpkms://my-project/europe-west3/ring/key' }, form],
    [{ ref: ref.replace('/keyRings/ring', '') }, form],
    [{ ref: ref.replace('release-key', '..') }, form],
    [{ ref: 'awskms:///alias/x' }, form],
    [{ ...place, version: 0 }, /^version: must be the number of a version, or latest/],
    [{ ...place, version: '7' }, /^version: must be the number of a version, or latest/],
    [{ ...place, project: 'My Project' }, /^project: must be the id or number of a project/],
    [{ ...place, location: '../x' }, /^location: must be a location such as europe-west3/],
    [{ ...place, keyRing: 'a/b' }, /^keyRing: must be 1 to 63 letters/],
    [{ ...place, key: 'k'.repeat(64) }, /^key: must be 1 to 63 letters/],
    [{ ...place, endpoint: 'http://kms.internal' }, /^endpoint: must be https; http is for loopback only/],
    [{ ...place, endpoint: 'http://127.0.0.1.evil.example' }, /^endpoint: must be https/],
    [{ ...place, endpoint: 'kms.internal' }, /^endpoint: must be an address such as https/],
    [{ ...place, endpoint: 'https://u:word@kms' }, /^endpoint: must be an address.*without user/],
    [{ ...place, endpoint: 'https://kms/path' }, /^endpoint: must be an address/],
    [{ ...place, impersonateServiceAccount: 'somebody' }, /^impersonateServiceAccount: must be the e-mail address/],
    [{ ...place, credentialsFile: 'a\nb' }, /^credentialsFile: must not hold control/],
    [{ ...place, credentials: {} }, /credentials/],
  ];
  for (const [settings, words] of cases) {
    const parsed = keySettings.safeParse({ ...gcp, ...settings });
    const found = parsed.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
    assert.ok(
      found.some((mistake) => words.test(mistake)),
      `${JSON.stringify(settings)}: ${found.join(' | ')}`,
    );
    assert.doesNotMatch(found.join(), /word/);
  }
});

test('the examples of deploy/keys/gcp.md are settings', () => {
  const page = readFileSync(new URL('../../deploy/keys/gcp.md', import.meta.url), 'utf8');
  const block = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const keys = keysSettings.parse(parse(block).keys);
  assert.equal(keys.length, 6);
  for (const key of keys) assert.equal(key.kind, 'gcp');
  const permissions = /```yaml\ntitle.*?```/s.exec(page)?.[0] ?? '';
  assert.equal(parse(permissions.replace(/```(?:yaml)?/g, '')).includedPermissions.length, 4);
});

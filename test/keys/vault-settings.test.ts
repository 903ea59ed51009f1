import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { z } from 'zod';
import { transitKeyName, vaultSettings } from '../../src/keys/vault/settings.ts';

const vault = {
  name: 'release',
  kind: 'vault',
  address: 'https://vault.example.com:8200',
  login: { method: 'token', token: 'secret-token' },
};
const cert = { method: 'cert', certFile: '/client.crt', keyFile: '/client.key' };

const mistakes = (settings: object): readonly string[] =>
  vaultSettings
    .safeParse({ ...vault, ...settings })
    .error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) ?? [];

test("references by cosign's grammar", () => {
  for (const scheme of ['hashivault', 'openbao']) {
    for (const key of ['k', 'release', 'my.key-1_x', 'A--b', '0']) {
      const parsed = vaultSettings.parse({ ...vault, ref: `${scheme}://${key}` });
      assert.equal(transitKeyName(parsed), key);
    }
  }
});

test('a wrong reference is refused, and the right form shown', () => {
  const wrong = [
    'release',
    'vault://release',
    'hashivault:release',
    'hashivault:///release',
    'hashivault://',
    'hashivault://transit/release',
    'hashivault://vault.example:8200/release',
    'hashivault://release?version=2',
    'hashivault://release/',
    'hashivault://-release',
    'hashivault://release.',
    'hashivault://re lease',
    'hashivault://rel%2Fease',
    'HASHIVAULT://release',
    `hashivault://${'k'.repeat(256)}`,
    'awskms:///alias/x',
  ];
  for (const ref of wrong) {
    assert.ok(
      mistakes({ ref }).some((mistake) => mistake.startsWith('ref: must be hashivault://KEY or openbao://KEY;')),
      ref,
    );
  }
});

test('mounts and namespaces may be nested; they are paths, not URLs', () => {
  for (const path of ['transit', 'eu/transit', 'a/b/c.d-e_f']) {
    const parsed = vaultSettings.parse({ ...vault, key: 'k', mount: path, namespace: path });
    assert.deepEqual([parsed.mount, parsed.namespace], [path, path]);
  }
  for (const path of ['', '/transit', 'transit/', 'a//b', '../sys', 'a/../b', './a', 'a?b', 'a b', 'a%2Fb']) {
    for (const field of ['mount', 'namespace']) {
      assert.ok(
        mistakes({ key: 'k', [field]: path }).some((mistake) => mistake.startsWith(`${field}: must `)),
        `${field} ${path}`,
      );
    }
  }
});

test('a certificate login', () => {
  const parsed = vaultSettings.parse({ ...vault, key: 'k', login: { ...cert, name: 'signer' } });
  assert.deepEqual(parsed.login, { ...cert, name: 'signer', mount: 'cert' });
  assert.match(mistakes({ key: 'k', login: { ...cert, keyFile: undefined } }).join(), /^login\.keyFile: /);
  assert.match(mistakes({ key: 'k', login: { ...cert, role: 'x' } }).join(), /role/);
  const plain = mistakes({ key: 'k', login: cert, address: 'http://127.0.0.1:8200' });
  assert.deepEqual(plain, ['address: must be https: a cert login is made in TLS']);
});

test('the examples of deploy/keys/vault.md are settings, of every login', () => {
  const page = readFileSync(new URL('../../deploy/keys/vault.md', import.meta.url), 'utf8');
  const yaml = /```yaml\n(.*?)```/s.exec(page)?.[1] ?? '';
  const keys = z.array(vaultSettings).parse(parse(yaml).keys);
  assert.equal(keys.length, 6);
  assert.deepEqual(
    new Set(keys.map(({ login }) => login.method)),
    new Set(['kubernetes', 'token', 'approle', 'jwt', 'cert']),
  );
});

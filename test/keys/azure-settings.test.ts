import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { azureSettings, azureTarget } from '../../src/keys/azure/settings.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import { keySettings } from '../../src/keys/settings.ts';

const credential = { method: 'managed-identity' };
const azure = { name: 'release', kind: 'azure', credential };
const version = '0123456789abcdef0123456789abcdef';
const vaultUrl = 'https://team.vault.azure.net';
const here = { vaultUrl, key: 'release' };

const target = (settings: object) => {
  const { vaultUrl, key, version, managedHsm, authorityHost } = azureTarget(
    azureSettings.parse({ ...azure, ...settings }),
  );
  return [vaultUrl, key, version, managedHsm, authorityHost];
};

test('every way to write a key, and what becomes of it', () => {
  assert.deepEqual(target(here), [vaultUrl, 'release', undefined, false, undefined]);
  assert.deepEqual(target({ ...here, vaultUrl: `${vaultUrl}/`, version }), [
    vaultUrl,
    'release',
    version,
    false,
    undefined,
  ]);
  for (const [host, managedHsm, authority] of [
    ['a1.managedhsm.azure.net', true, undefined],
    ['a1.vault.azure.cn', false, 'https://login.chinacloudapi.cn'],
    ['a1.managedhsm.azure.cn', true, 'https://login.chinacloudapi.cn'],
    ['a1.vault.usgovcloudapi.net', false, 'https://login.microsoftonline.us'],
    ['a1.managedhsm.usgovcloudapi.net', true, 'https://login.microsoftonline.us'],
  ] as const) {
    const url = `https://${host}`;
    assert.deepEqual(target({ vaultUrl: url, key: 'K-1' }), [url, 'K-1', undefined, managedHsm, authority]);
    assert.deepEqual(target({ ref: `azurekms://${host}/K-1/${version}` }), [
      url,
      'K-1',
      version,
      managedHsm,
      authority,
    ]);
  }
  const authorityHost = 'https://login.example/';
  assert.equal(target({ ...here, authorityHost })[4], 'https://login.example');
  const other = { vaultUrl: 'https://127.0.0.1:8443', key: 'x', disableChallengeResourceVerification: true };
  assert.deepEqual(target(other), ['https://127.0.0.1:8443', 'x', undefined, false, undefined]);
});

test('references as cosign writes them', () => {
  for (const [ref, expected] of [
    ['azurekms://team.vault.azure.net/release', undefined],
    ['azurekms://team.vault.azure.net/release/', undefined],
    [`azurekms://team.vault.azure.net/release/${version}`, version],
  ] as const) {
    assert.deepEqual(target({ ref }), [vaultUrl, 'release', expected, false, undefined]);
  }
});

test('every credential', () => {
  const id = '00000000-0000-0000-0000-000000000000';
  for (const each of [
    { method: 'workload-identity' },
    { method: 'workload-identity', tenantId: id, clientId: id, tokenFile: '/token' },
    { method: 'managed-identity', clientId: id },
    { method: 'client-secret', tenantId: 'example.onmicrosoft.com', clientId: id, secret: 's' },
    { method: 'client-secret', tenantId: id, clientId: id, secretFile: '/secret' },
    { method: 'client-certificate', tenantId: id, clientId: id, certificateFile: '/cert.pem' },
  ]) {
    assert.ok(azureSettings.parse({ ...azure, ...here, credential: each }));
  }
});

test('refused, each with its field and the right form', () => {
  const id = '00000000-0000-0000-0000-000000000000';
  const form =
    /^ref: must be azurekms:\/\/NAME\.vault\.azure\.net\/KEY or azurekms:\/\/NAME\.vault\.azure\.net\/KEY\/VERSION/;
  const cases: readonly (readonly [object, RegExp])[] = [
    [{}, /^vaultUrl: vaultUrl and key must be set, or ref/],
    [{ vaultUrl }, /^key: vaultUrl and key must be set/],
    [{ key: 'x' }, /^vaultUrl: vaultUrl and key must be set/],
    [{ ref: 'azurekms://team.vault.azure.net/x', key: 'x' }, /^key: must not be set: ref says it/],
    [{ ref: 'azurekms://team.vault.azure.net/x', version }, /^version: must not be set/],
    [{ ref: 'azurekms://team.vault.azure.net' }, form],
    [{ ref: 'azurekms:///x' }, form],
    [{ ref: 'azurekms://team.vault.azure.net/keys/x/1' }, form],
    [{ ref: 'azurekms://team.vault.azure.net/x/latest' }, form],
    [{ ref: 'azurekms://team.vault.azure.net/x?version=1' }, form],
    [{ ref: 'azurekms://user:word@team.vault.azure.net/x' }, form],
    [{ ref: 'azurekms://a:b/x', disableChallengeResourceVerification: true }, form],
    [{ ref: 'awskms:///alias/x' }, form],
    [{ ref: 'azurekms://team/x' }, /^ref: team is not a host of Azure.*NAME\.vault\.azure\.net.*disableChallenge/],
    [{ ...here, vaultUrl: 'https://vault.azure.net' }, /^vaultUrl: vault\.azure\.net is not a host of Azure/],
    [{ ...here, vaultUrl: 'https://a.vault.azure.net.evil.example' }, /is not a host of Azure/],
    [{ ...here, vaultUrl: 'https://a.vault.azure.net:8443' }, /is not a host of Azure/],
    [{ ...here, vaultUrl: 'http://team.vault.azure.net' }, /^vaultUrl: must be an address such as https/],
    [{ ...here, vaultUrl: 'https://team.vault.azure.net/keys' }, /^vaultUrl: must be an address.*without user, path/],
    [{ ...here, vaultUrl: 'https://u:word@team.vault.azure.net' }, /^vaultUrl: must be an address/],
    [{ ...here, key: 'a b' }, /^key: must be the name of a key/],
    [{ ...here, version: 'latest' }, /^version: must be the id of a version: 32 lower-case hex digits/],
    [{ ...here, authorityHost: 'login.example' }, /^authorityHost: must be an address such as https:\/\/login/],
    [{ ...here, credential: undefined }, /^credential: /],
    [{ ...here, credential: { method: 'default' } }, /^credential\.method: /],
    [
      { ...here, credential: { method: 'managed-identity', clientId: 'x' } },
      /^credential\.clientId: must be an id such/,
    ],
    [
      { ...here, credential: { method: 'client-secret', tenantId: id, clientId: id } },
      /secretFile: exactly one of secret/,
    ],
    [
      { ...here, credential: { method: 'client-secret', tenantId: 'a/b', clientId: id, secret: 'word' } },
      /tenantId: must be/,
    ],
    [{ ...here, credential: { method: 'client-certificate', tenantId: id, clientId: id } }, /certificateFile/],
    [{ ...here, region: 'x' }, /region/],
  ];
  for (const [settings, words] of cases) {
    const parsed = keySettings.safeParse({ ...azure, ...settings });
    const found = parsed.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
    assert.ok(
      found.some((mistake) => words.test(mistake)),
      `${JSON.stringify(settings)}: ${found.join(' | ')}`,
    );
    assert.doesNotMatch(found.join(), /word/);
  }
});

test('the examples of deploy/keys/azure.md are settings, and its role is JSON', () => {
  const page = readFileSync(new URL('../../deploy/keys/azure.md', import.meta.url), 'utf8');
  const block = (language: string): string => new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's').exec(page)?.[1] ?? '';
  const keys = keysSettings.parse(parse(block('yaml')).keys);
  assert.equal(keys.length, 6);
  for (const key of keys) assert.equal(key.kind, 'azure');
  assert.deepEqual(JSON.parse(block('json')).DataActions, [
    'Microsoft.KeyVault/vaults/keys/read',
    'Microsoft.KeyVault/vaults/keys/sign/action',
  ]);
});

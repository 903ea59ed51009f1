import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { capture } from './capture.ts';

const folder = await mkdtemp(join(tmpdir(), 'countersign-cli-'));
after(() => rm(folder, { recursive: true }));
const write = async (name: string, content: string): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};

const policy = `
rules:
  - name: releases
    caller: { issuer: https://issuer.example, claims: { repository_id: "1" } }
    verbs: [sign]
    keys: [release]
    repositories: [r.example/acme/**]
`;
const policyTests = (expect: string): string => `
tests:
  - name: a release signs
    caller: { issuer: https://issuer.example, claims: { repository_id: "1" } }
    request: { verb: sign, key: release, repository: r.example/acme/app }
    expect: ${expect}
`;
const config = (key: string): string => `
listeners: { grpc: { address: "127.0.0.1:0", transport: plaintext } }
callers: { oidc: [{ issuer: https://issuer.example, audience: countersign }] }
policy: { files: [rules.yaml] }
keys: [{ name: ${key}, kind: local, generate: ecdsa-p256-sha256 }]
audit: { kind: stdout }
`;
const rules = await write('rules.yaml', policy);
const tests = await write('rules.test.yaml', policyTests('allow'));

test('policy test runs the tests beside a policy file, whichever of the two is named', async () => {
  for (const file of [rules, tests]) {
    const { code, out } = await capture(['policy', 'test', file]);
    assert.equal(code, 0, out);
    assert.match(out, /^ok {4}a release signs \(.*rules\.test\.yaml:3\)\n1 tests, 0 failed\n$/);
  }
});

test('a policy test that fails exits with 10 and says why', async () => {
  const failing = await write('strict.yaml', policy);
  await write('strict.test.yaml', policyTests('deny'));
  const { code, out } = await capture(['policy', 'test', failing]);
  assert.equal(code, 10);
  assert.match(out, /^FAIL {2}a release signs/);
  assert.match(out, /expected deny\. Policy rule "releases" allows this sign/);
  const json = await capture(['policy', 'test', failing, '--output', 'json']);
  assert.equal(json.code, 10);
  assert.equal(JSON.parse(json.out).results[0].passed, false);
});

test('policy test without files, without tests or with mistakes', async () => {
  assert.equal((await capture(['policy', 'test'])).code, 2);
  assert.equal((await capture(['policy', 'test', await write('lonely.yaml', policy)])).code, 2);
  const broken = await capture(['policy', 'test', await write('broken.yaml', policy.replace('issuer:', 'isuer:'))]);
  assert.equal(broken.code, 6);
  assert.match(broken.err, /broken\.yaml:4: .*isuer/);
});

test('check-config reads the policy against the keys and issuers of the configuration', async () => {
  const good = await capture(['check-config', await write('good.yaml', config('release'))]);
  assert.equal(good.err, '');
  assert.equal(good.code, 0);
  assert.match(good.out, /keys +release/);
  assert.match(good.out, /policy +1 rule, sha256:[0-9a-f]{64}/);
  const bad = await capture(['check-config', await write('bad.yaml', config('relaese'))]);
  assert.equal(bad.code, 6);
  assert.match(bad.err, /rules\.yaml:6: .*release/);
});

test('check-config names every mistake with its place', async () => {
  const file = await write(
    'wrong.yaml',
    config('release').replace('audience: countersign', 'audiance: x').replace('stdout', 'paper'),
  );
  const { code, err } = await capture(['check-config', file]);
  assert.equal(code, 6);
  assert.match(err, /wrong\.yaml:3:\d+: callers\.oidc\[0\].*audience/);
  assert.match(err, /wrong\.yaml:6:\d+: audit/);
  const json = await capture(['check-config', file, '--output', 'json']);
  assert.equal(JSON.parse(json.out).error.reason, 'CONFIG_INVALID');
});

test('check-config names the mistakes of configuration and policy together', async () => {
  const wrong = (text: string): string => text.replace('stdout', 'paper');
  const both = await capture(['check-config', await write('both.yaml', wrong(config('relaese')))]);
  assert.equal(both.code, 6);
  assert.match(both.err, /both\.yaml:6:\d+: audit/);
  assert.match(both.err, /rules\.yaml:6: rules\[0\]\.keys.*release.*; /);
  const json = JSON.parse((await capture(['check-config', join(folder, 'both.yaml'), '--output', 'json'])).out);
  assert.equal(json.error.reason, 'CONFIG_INVALID');
  assert.equal(json.error.exitCode, 6);
  assert.deepEqual(
    json.error.violations.map(({ field }: { field: string }) => field.replace(/^.*\//, '')),
    ['audit.kind', 'rules.yaml:6: rules[0].keys'],
  );

  // One mistake is not told as two: what cannot be read of the configuration is not held against the policy.
  const lone = async (name: string, text: string): Promise<string> => {
    const { code, err } = await capture(['check-config', await write(name, text)]);
    assert.equal(code, 6);
    assert.doesNotMatch(err, /rules\.yaml/);
    return err;
  };
  assert.match(await lone('key-name.yaml', config('Release')), /key-name\.yaml:5:\d+: keys\[0\]\.name/);
  const unset = config('release').replace('issuer: https://issuer.example', 'issuer: "${ISSUER}"');
  assert.match(await lone('unset.yaml', unset), /unset\.yaml:3:\d+: callers\.oidc\[0\]\.issuer.*ISSUER/);
  assert.match(await lone('torn.yaml', `${config('relaese')}keys: [`), /torn\.yaml:7/);
  assert.match(await lone('no-policy.yaml', config('release').replace('[rules.yaml]', '7')), /policy\.files/);
});

test('check-config tells an absent TLS file along with a mistake in the policy', async () => {
  const tls = config('relaese').replace('transport: plaintext', 'tls: { certFile: absent.crt, keyFile: absent.key }');
  const { code, err } = await capture(['check-config', await write('tls.yaml', tls)]);
  assert.equal(code, 6);
  assert.match(err, /rules\.yaml:6: .*release/);
  assert.match(err, /absent\.(crt|key) cannot be read/);
});

test('check-config --print-schema prints a JSON Schema', async () => {
  const { code, out } = await capture(['check-config', '--print-schema']);
  assert.equal(code, 0);
  assert.ok('listeners' in JSON.parse(out).properties);
});

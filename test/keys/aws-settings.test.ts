import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { parse } from 'yaml';
import { awsSettings, awsTarget } from '../../src/keys/aws/settings.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import { keySettings } from '../../src/keys/settings.ts';

const uuid = '1234abcd-12ab-34cd-56ef-1234567890ab';
const mrk = 'mrk-1234abcd12ab34cd56ef1234567890ab';
const keyArn = `arn:aws:kms:us-east-2:111122223333:key/${uuid}`;
const aliasArn = 'arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/a/b';
const roleArn = 'arn:aws:iam::111122223333:role/path/release';
const aws = { name: 'release', kind: 'aws' };

const target = (settings: object) => {
  const { keyId, region, endpoint } = awsTarget(awsSettings.parse({ ...aws, ...settings }));
  return [keyId, region, endpoint];
};

test('every way to write a key, and what becomes of it', () => {
  assert.deepEqual(target({ keyId: uuid, region: 'eu-central-1' }), [uuid, 'eu-central-1', undefined]);
  assert.deepEqual(target({ keyId: mrk }), [mrk, undefined, undefined]);
  assert.deepEqual(target({ arn: keyArn }), [keyArn, 'us-east-2', undefined]);
  assert.deepEqual(target({ arn: aliasArn, fips: true, dualStack: true }), [aliasArn, 'us-gov-west-1', undefined]);
  assert.deepEqual(target({ alias: 'alias/release' }), ['alias/release', undefined, undefined]);
  for (const endpoint of [
    'https://kms.internal:8443',
    'http://127.0.0.1:4566',
    'http://localhost:1',
    'http://[::1]:1',
  ]) {
    assert.deepEqual(target({ alias: 'alias/x', endpoint }), ['alias/x', undefined, endpoint]);
  }
});

test('references as cosign writes them', () => {
  for (const key of [uuid, mrk, keyArn, 'alias/ExampleAlias', aliasArn]) {
    const region = key.split(':')[3];
    assert.deepEqual(target({ ref: `awskms:///${key}` }), [key, region, undefined]);
    assert.deepEqual(target({ ref: `awskms://localhost:4566/${key}` }), [key, region, 'https://localhost:4566']);
  }
  const local = { ref: 'awskms:///alias/x', endpoint: 'http://127.0.0.1:4566' };
  assert.deepEqual(target(local), ['alias/x', undefined, 'http://127.0.0.1:4566']);
});

test('refused, each with its field and the right form', () => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{}, /^keyId: exactly one of keyId, arn, alias and ref/],
    [{ keyId: uuid, alias: 'alias/x' }, /^keyId: exactly one/],
    [{ keyId: uuid.slice(1) }, /^keyId: must be a key id such as 1234abcd-/],
    [{ keyId: 'alias/x' }, /^keyId: must be a key id/],
    [{ alias: 'x' }, /^alias: must be alias\/NAME/],
    [{ alias: 'alias/a b' }, /^alias: /],
    [{ arn: `arn:aws:s3:us-east-2:111122223333:key/${uuid}` }, /^arn: must be an ARN such as arn:aws:kms:REGION/],
    [{ arn: keyArn.replace('111122223333', '1') }, /^arn: /],
    [{ ref: 'awskms://alias/x' }, /^ref: must be awskms:\/\/\[ENDPOINT\]\/ID, awskms/],
    [{ ref: `awskms:/${uuid}` }, /^ref: must be awskms/],
    [{ ref: 'awskms:///x' }, /^ref: must be awskms/],
    [{ ref: 'gcpkms://projects/x' }, /^ref: must be awskms/],
    [{ ref: 'awskms:///alias/x?region=y' }, /^ref: must be awskms/],
    [{ ref: 'awskms://user:word@host/alias/x' }, /^ref: must be awskms/],
    [{ ref: 'awskms://host:port/alias/x' }, /^ref: the ENDPOINT of awskms.* must be HOST or HOST:PORT/],
    [{ ref: 'awskms://host/alias/x', endpoint: 'https://host' }, /^endpoint: must not be set/],
    [{ alias: 'alias/x', endpoint: 'http://kms.internal' }, /^endpoint: must be https; http is for loopback only/],
    [{ alias: 'alias/x', endpoint: 'http://127.0.0.1.evil.example' }, /^endpoint: must be https/],
    [{ alias: 'alias/x', endpoint: 'kms.internal' }, /^endpoint: must be an address such as https/],
    [{ alias: 'alias/x', endpoint: 'https://u:word@kms' }, /^endpoint: must be an address.*without user/],
    [{ alias: 'alias/x', endpoint: 'https://kms/path' }, /^endpoint: must be an address/],
    [{ alias: 'alias/x', endpoint: 'https://kms', fips: true }, /^fips: has no meaning with an endpoint/],
    [{ ref: 'awskms://kms/alias/x', dualStack: true }, /^dualStack: has no meaning with an endpoint/],
    [{ alias: 'alias/x', region: 'Frankfurt!' }, /^region: must be the name of a region/],
    [{ arn: keyArn, region: 'eu-central-1' }, /^region: the key is in us-east-2/],
    [{ alias: 'alias/x', profile: 'a\nb' }, /^profile: must not hold control/],
    [{ alias: 'alias/x', accessKeyId: 'x' }, /accessKeyId/],
    [{ alias: 'alias/x', role: {} }, /^role\.arn: /],
    [{ alias: 'alias/x', role: { arn: keyArn } }, /^role\.arn: must be the ARN of a role such as arn:aws:iam::/],
    [{ alias: 'alias/x', role: { arn: roleArn, externalId: 'x' } }, /^role\.externalId: must be 2 to 1224/],
    [{ alias: 'alias/x', role: { arn: roleArn, sessionName: 'a b' } }, /^role\.sessionName: must be 2 to 64/],
    [{ alias: 'alias/x', role: { arn: roleArn, durationSeconds: 60 } }, /^role\.durationSeconds: must be at least 900/],
    [
      { alias: 'alias/x', role: { arn: roleArn, durationSeconds: 1e6 } },
      /^role\.durationSeconds: must be at most 43200/,
    ],
    [{ alias: 'alias/x', role: { arn: roleArn, secret: 'x' } }, /^role: .*secret/],
    [{ arn: aliasArn, role: { arn: roleArn } }, /^role\.arn: the key is in partition aws-us-gov/],
  ];
  for (const [settings, words] of cases) {
    const parsed = keySettings.safeParse({ ...aws, ...settings });
    const found = parsed.error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];
    assert.ok(
      found.some((mistake) => words.test(mistake)),
      `${JSON.stringify(settings)}: ${found.join(' | ')}`,
    );
    assert.doesNotMatch(found.join(), /word/);
  }
});

test('the examples of deploy/keys/aws.md are settings, and its policies are JSON', () => {
  const page = readFileSync(new URL('../../deploy/keys/aws.md', import.meta.url), 'utf8');
  const blocks = (language: string): readonly string[] =>
    [...page.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 'gs'))].map(([, block]) => block ?? '');
  const keys = keysSettings.parse(parse(blocks('yaml')[0] ?? '').keys);
  assert.equal(keys.length, 8);
  for (const key of keys) assert.equal(key.kind, 'aws');
  const policies = blocks('json').map((block) => JSON.parse(block));
  assert.deepEqual(
    policies.map(({ Version, Statement }) => [Version, Statement.length]),
    [2, 2, 1, 1].map((length) => ['2012-10-17', length]),
  );
});

test('every reason that the code of AWS keys gives is explained in deploy/keys/aws.md', () => {
  const page = readFileSync(new URL('../../deploy/keys/aws.md', import.meta.url), 'utf8');
  const explained = new Set(page.match(/(?<=^\|.*`)[A-Z][A-Z_]+(?=`.*\|)/gm));
  const files = [
    'aws.ts',
    ...['client', 'errors', 'credentials-errors', 'key', 'role'].map((name) => `aws/${name}.ts`),
  ];
  const given = files.flatMap(
    (file) => readFileSync(new URL(`../../src/keys/${file}`, import.meta.url), 'utf8').match(/'[A-Z]+_[A-Z_]+'/g) ?? [],
  );
  const reasons = [...new Set(given.map((quoted) => quoted.slice(1, -1)))].filter((name) =>
    /^(?:KEY|MESSAGE)_/.test(name),
  );
  assert.ok(reasons.length > 10);
  for (const reason of reasons) assert.ok(explained.has(reason), reason);
});

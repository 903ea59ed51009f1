import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import dns from 'node:dns';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openKeyring } from '../../src/keys/keyring.ts';
import { openContext } from '../../src/model/context.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { accessKeyId, awsKey, isolateAws, message, opened, ringOf, secretAccessKey, started } from './aws-world.ts';
import { awsFault, region, startFakeKms } from './fake-kms.ts';

for (const [spec, algorithm, maxMessage] of [
  ['ECC_NIST_P256', 'ecdsa-p256-sha256', 1024 * 1024],
  ['ECC_NIST_P384', 'ecdsa-p384-sha384', 1024 * 1024],
  ['ECC_NIST_P521', 'ecdsa-p521-sha512', 1024 * 1024],
  ['ECC_NIST_EDWARDS25519', 'ed25519', 4096],
] as const) {
  keyContract({
    label: `fake KMS, ${algorithm}`,
    backend: 'aws',
    algorithm,
    maxMessage,
    protectionLevel: 'fips-140-3-l3',
    open: async () => {
      const kms = await startFakeKms();
      const ring = openKeyring([awsKey(kms.endpoint, { arn: kms.createKey(spec).arn })]);
      const close = async () => {
        await ring.close();
        await kms.close();
      };
      return { ...ring, close };
    },
  });
}

test('one request a signature: the key is read once, when it is opened', async (t) => {
  const { kms, key, ring } = await opened(t);
  for (let round = 0; round < 3; round++) {
    await ring.sign('subject', message, testContext());
    await ring.describe('subject', testContext());
  }
  assert.deepEqual(
    kms.calls.map(({ operation }) => operation),
    ['DescribeKey', 'GetPublicKey', 'Sign', 'Sign', 'Sign'],
  );
  const digest = createHash('sha256').update(message.message).digest('base64');
  const asked = { KeyId: key.arn, Message: digest, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' };
  assert.deepEqual(kms.calls.at(-1)?.body, asked);
  const { versions, signing } = await ring.describe('subject', testContext());
  assert.equal(signing.version, key.arn);
  assert.deepEqual(
    versions.map(({ version, state, createdAt }) => [version, state, createdAt]),
    [[key.arn, 'enabled', '2026-11-27T00:12:41.500Z']],
  );
});

test('an alias that is moved changes nothing until its old key is disabled', async (t) => {
  const { kms, key, ring } = await opened(t);
  const next = kms.createKey();
  const versionNow = async () => (await ring.sign('subject', message, testContext())).version.version;
  assert.equal(await versionNow(), key.arn);
  kms.setAlias('alias/release', next);
  assert.equal(await versionNow(), key.arn);
  key.metadata['KeyState'] = 'PendingDeletion';
  assert.equal((await rejection(versionNow())).reason, 'KEY_PENDING_DELETION');
  assert.equal(await versionNow(), next.arn);
  next.metadata['KeyState'] = 'Disabled';
  assert.equal((await rejection(versionNow())).reason, 'KEY_DISABLED');
});

test('an Ed25519 message of more than 4096 bytes says why not, unasked', async (t) => {
  const kms = await started(t);
  const ring = ringOf(t, kms.endpoint, { arn: kms.createKey('ECC_NIST_EDWARDS25519').arn });
  const large = { kind: 'message', message: Buffer.alloc(4097) } as const;
  const error = await rejection(ring.sign('subject', large, testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'MESSAGE_TOO_LARGE']);
  assert.match(error.message, /at most 4096 bytes.*use an ECDSA or RSA key/);
  assert.equal(kms.count('Sign'), 0);
});

test('the protection level is what AWS states, and a demand for more is refused', async (t) => {
  const cases = [
    [{ Origin: 'AWS_KMS' }, 'fips-140-3-l3'],
    [{ Origin: 'EXTERNAL' }, 'hsm'],
    [{ Origin: 'AWS_CLOUDHSM', CustomKeyStoreId: 'cks-1' }, 'hsm'],
    [{ Origin: 'AWS_KMS', CustomKeyStoreId: 'cks-1' }, 'hsm'],
    [{ Origin: 'EXTERNAL_KEY_STORE', CustomKeyStoreId: 'cks-1' }, 'software'],
    [{ Origin: undefined }, 'software'],
  ] as const;
  for (const [metadata, level] of cases) {
    const { key, ring } = await opened(t);
    Object.assign(key.metadata, metadata);
    assert.equal((await ring.describe('subject', testContext())).protectionLevel, level, JSON.stringify(metadata));
  }
  const kms = await started(t);
  const imported = kms.createKey();
  imported.metadata['Origin'] = 'EXTERNAL';
  const ring = openKeyring([awsKey(kms.endpoint, { arn: imported.arn, requireProtection: 'fips-140-3-l3' })]);
  t.after(() => ring.close());
  assert.equal((await rejection(ring.describe('subject', testContext()))).reason, 'PROTECTION_LEVEL');
});

const whole = (error: CountersignError): string => `${error.message} ${error.stack} ${String(error.cause)}`;

test('credentials of the environment sign the requests, and appear in no error', async (t) => {
  const { kms, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  assert.match(kms.calls.at(-1)?.authorization ?? '', new RegExp(`Credential=${accessKeyId}/\\d+/${region}/kms/`));
  const explained =
    'The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for this ' +
    `request should have been\n'POST\n/\n\nx-amz-security-token:pod-token-secret ${secretAccessKey}'`;
  kms.fail('Sign', awsFault('InvalidSignatureException', explained));
  const error = await rejection(ring.sign('subject', message, testContext()));
  assert.equal(error.reason, 'KEY_ACCESS_DENIED');
  assert.match(String(error.cause), /InvalidSignatureException, status 400, .*does not match/);
  assert.doesNotMatch(whole(error), new RegExp(`pod-token-secret|${secretAccessKey}|${accessKeyId}`));
});

test('credentials of a pod: read once for all keys, anew once when they expired, no storm when that does not help', async (t) => {
  const kms = await started(t);
  delete process.env['AWS_ACCESS_KEY_ID'];
  process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] = kms.credentialsUri;
  t.after(isolateAws);
  const keys = [kms.createKey(), kms.createKey()];
  const ring = openKeyring(keys.map(({ arn }, at) => ({ ...awsKey(kms.endpoint, { arn }), name: `key-${at}` })));
  t.after(() => ring.close());
  const sign = () => Promise.all(ring.names().map((name) => ring.sign(name, message, testContext())));
  await sign();
  assert.equal(kms.count('credentials'), 1);

  const expired = awsFault('ExpiredTokenException', 'The security token included in the request is expired');
  kms.fail('Sign', ({ sessionToken }) => (sessionToken === 'pod-token-1' ? expired : undefined));
  await sign();
  assert.equal(kms.count('credentials'), 2);
  assert.equal(kms.calls.at(-1)?.sessionToken, 'pod-token-2');

  kms.fail('Sign', expired);
  for (let round = 0; round < 3; round++) {
    const error = await rejection(ring.sign('key-0', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
    assert.doesNotMatch(whole(error), /pod-secret|pod-token|AKIAPOD/);
  }
  assert.equal(kms.count('credentials'), 2, 'they were read anew a moment ago');
});

test('no credentials: what to do, and whether it may pass', async (t) => {
  t.after(isolateAws);
  const cases: readonly (readonly [Record<string, string>, string, RegExp])[] = [
    [{}, 'KEY_ACCESS_DENIED', /no AWS credentials.*CredentialsProviderError.*give the service a role/],
    [
      { AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/x', AWS_WEB_IDENTITY_TOKEN_FILE: '/nonexistent/token' },
      'KEY_ACCESS_DENIED',
      /no AWS credentials.*ENOENT/,
    ],
    [
      {
        AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/x',
        AWS_WEB_IDENTITY_TOKEN_FILE: import.meta.filename,
        AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:9',
      },
      'KEY_UNAVAILABLE',
      /source of the AWS credentials.*ECONNREFUSED/,
    ],
  ];
  for (const [environment, reason, words] of cases) {
    isolateAws();
    delete process.env['AWS_ACCESS_KEY_ID'];
    Object.assign(process.env, environment);
    const { kms, ring } = await opened(t);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.equal(error.reason, reason);
    assert.match(error.message, words);
    assert.equal(kms.calls.length, 0);
  }
});

test('no region: what to do', async (t) => {
  const ring = openKeyring([awsKey('https://127.0.0.1:9', { alias: 'alias/x', region: undefined })]);
  t.after(() => ring.close());
  assert.equal((await rejection(ring.describe('subject', testContext()))).reason, 'KEY_REGION_MISSING');
});

test('the egress policy holds for what the AWS environment names', async (t) => {
  process.env['AWS_ENDPOINT_URL_KMS'] = 'http://kms.example';
  t.after(isolateAws);
  const ring = openKeyring([awsKey('http://127.0.0.1:9', { alias: 'alias/x', endpoint: undefined })]);
  t.after(() => ring.close());
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'EGRESS_DENIED']);
});

test('region, FIPS and dual stack choose the endpoint', async (t) => {
  const asked: string[] = [];
  t.mock.method(dns, 'lookup', (host: string, _: unknown, done: (error: Error) => void) => {
    asked.push(host);
    process.nextTick(done, Object.assign(new Error('not known'), { code: 'ENOTFOUND' }));
  });
  for (const more of [{}, { fips: true }, { dualStack: true }, { fips: true, dualStack: true }]) {
    const ring = openKeyring([awsKey('http://127.0.0.1:9', { alias: 'alias/x', endpoint: undefined, ...more })]);
    t.after(() => ring.close());
    const error = await rejection(ring.describe('subject', openContext('short', 5_000).context));
    assert.deepEqual([error.code, error.reason], ['unavailable', 'KEY_UNAVAILABLE']);
    assert.match(error.message, /not known to DNS/);
  }
  assert.deepEqual(
    [...new Set(asked)],
    [
      `kms.${region}.amazonaws.com`,
      `kms-fips.${region}.amazonaws.com`,
      `kms.${region}.api.aws`,
      `kms-fips.${region}.api.aws`,
    ],
  );
});

test('the SDK is loaded when a key of AWS is opened, not before', async () => {
  const program = (open: boolean) => `
    import { registerHooks } from 'node:module';
    let loaded = 0;
    registerHooks({
      load(url, context, next) {
        if (/node_modules\\/@(?:aws-sdk|smithy)\\//.test(url)) loaded += 1;
        return next(url, context);
      },
    });
    await import('./src/serve.ts');
    const { configSchema } = await import('./src/config/schema.ts');
    const { openKeyring } = await import('./src/keys/keyring.ts');
    const { openContext } = await import('./src/model/context.ts');
    const keys = configSchema.shape.keys.parse([
      { name: 'a', kind: 'aws', alias: 'alias/x', endpoint: 'http://127.0.0.1:9', region: 'eu-central-1' },
      { name: 'l', kind: 'local', generate: 'ed25519' },
    ]);
    const ring = openKeyring(keys);
    await ring.describe('l', openContext('l', 5000).context);
    if (${open}) await ring.describe('a', openContext('a', 5000).context).catch(() => undefined);
    console.log(loaded > 0);`;
  for (const open of [false, true]) {
    const args = ['--input-type=module', '-e', program(open)];
    const cwd = new URL('../../', import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
    assert.equal(stdout.trim(), String(open));
  }
});

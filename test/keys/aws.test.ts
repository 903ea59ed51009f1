import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import dns from 'node:dns';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { AwsClient } from '../../src/keys/aws/client.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import { openContext } from '../../src/model/context.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { awsKey, isolateAws, message, opened, openKeyAt, ringOf, started, unopened } from './aws-world.ts';
import { type FakeKey, region, startFakeKms } from './fake-kms.ts';

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

test('opened again: its state is read, its public key is known', async (t) => {
  const { kms, key } = await unopened(t);
  const awsClients = createLeases<AwsClient>();
  const open = (more: object = {}) =>
    openKeyAt(t, kms.endpoint, { alias: 'alias/release', ...more }, testContext(), awsClients);
  const first = await open({ arn: kms.createKey().arn, alias: undefined });
  kms.fail('GetPublicKey', { status: 200, body: { KeyId: key.arn, KeySpec: key.spec, PublicKey: 'MAA=' } }, 1);
  assert.equal((await rejection(open())).reason, 'KEY_ANSWER_MALFORMED');
  const [second, third] = [await open(), await open()];
  assert.deepEqual([kms.count('DescribeKey'), kms.count('GetPublicKey')], [4, 3], 'what was unusable is asked again');
  assert.deepEqual(second.description.signing, third.description.signing);
  assert.notEqual(first.description.signing.hint, second.description.signing.hint);
  key.metadata['KeyState'] = 'Disabled';
  assert.equal((await rejection(open())).reason, 'KEY_DISABLED');
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

test('what AWS says of the key is its evidence', async (t) => {
  const { key, ring } = await opened(t);
  Object.assign(key.metadata, { Origin: 'AWS_CLOUDHSM', CustomKeyStoreId: 'cks-1', CloudHsmClusterId: 'cluster-1' });
  assert.deepEqual((await ring.describe('subject', testContext())).evidence, {
    Origin: 'AWS_CLOUDHSM',
    KeySpec: 'ECC_NIST_P256',
    KeyManager: 'CUSTOMER',
    CustomKeyStoreId: 'cks-1',
    CloudHsmClusterId: 'cluster-1',
    MultiRegion: 'false',
    partition: 'aws',
  });
});

test('a multi-Region key and its replica: two ARNs, one public key, each knows the other', async (t) => {
  const kms = await started(t);
  const [primary, replica] = kms.createMultiRegion('us-east-1');
  const open = async ({ arn }: FakeKey, more: object) => {
    const key = await openKeyAt(t, kms.endpoint, { arn, ...more });
    const signature = await key.sign(message, testContext());
    return { signature, ...key.description };
  };
  const [first, second] = [await open(primary, {}), await open(replica, { region: 'us-east-1' })];
  assert.deepEqual([first.signing.version, second.signing.version], [primary.arn, replica.arn]);
  assert.deepEqual(Buffer.from(first.signing.spki), Buffer.from(second.signing.spki));
  assert.equal(first.signing.hint, second.signing.hint);
  assert.ok(verifySignature(first.signing, message, second.signature), 'what one made, the other verifies');
  for (const [{ evidence }, type] of [
    [first, 'PRIMARY'],
    [second, 'REPLICA'],
  ] as const) {
    const { MultiRegion, MultiRegionKeyType, PrimaryKey, ReplicaRegions } = evidence;
    assert.deepEqual(
      [MultiRegion, MultiRegionKeyType, PrimaryKey, ReplicaRegions],
      ['true', type, primary.arn, 'us-east-1'],
    );
  }
  const scopes = kms.calls.map(({ authorization }) => authorization.split('/')[2]);
  assert.deepEqual([...new Set(scopes)], [region, 'us-east-1']);
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

// Keys in AWS KMS as MiniStack has it: the same contract as for every other key, cosign beside us with the same key, and
// the states that a key can be in.
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, publicEncrypt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { algorithms } from '../../src/keys/algorithms.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { parsePublicKeyPem, publicKeyPem } from '../../src/keys/public-key.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { selfSigned } from '../certificates.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { cosignSignBlob, cosignVerifyBlob } from './cosign.ts';
import { type Ministack, region, startForwarder, startMinistack } from './ministack.ts';
import { skipWithout, succeeded, temporaryFolder } from './peer.ts';

const names = Object.keys(algorithms) as AlgorithmName[];
const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

/** What AWS calls the key of an algorithm. */
const specOf = (name: AlgorithmName): string => {
  const row = algorithms[name];
  if (row.type === 'ed25519') return 'ECC_NIST_EDWARDS25519';
  return row.type === 'rsa' ? `RSA_${row.modulusBits}` : `ECC_NIST_${row.curve.replace('-', '')}`;
};

describe('keys in AWS KMS', { skip: skipWithout('ministack') }, () => {
  let aws: Ministack;
  before(async () => {
    aws = await startMinistack();
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    Object.assign(process.env, aws.env);
  });
  after(() => aws.stop());

  const settings = (more: object) =>
    keySettings.parse({ name: 'subject', kind: 'aws', endpoint: aws.endpoint, region, ...more });
  const ringOf = (t: TestContext, more: object): Keyring => {
    const ring = openKeyring([settings(more)]);
    t.after(() => ring.close());
    return ring;
  };
  const reasonOf = async (work: Promise<unknown>): Promise<string> => (await rejection(work)).reason;

  for (const algorithm of names) {
    const row = algorithms[algorithm];
    keyContract({
      label: `AWS KMS, ${algorithm}`,
      backend: 'aws',
      algorithm,
      protectionLevel: 'fips-140-3-l3',
      ...(row.type === 'ed25519' ? { maxMessage: 4096 } : {}),
      open: async () => {
        const alias = `alias/contract-${algorithm}`;
        await aws.createKey(alias, specOf(algorithm));
        const padding = row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {};
        return openKeyring([settings({ ref: `awskms:///${alias}`, ...padding })]);
      },
    });
  }

  test('a key by id, ARN, alias and alias ARN is one and the same', async (t) => {
    const key = await aws.createKey('alias/named', 'ECC_NIST_P256');
    const aliasArn = key.arn.replace(/key\/.*/, 'alias/named');
    for (const more of [{ keyId: key.id }, { arn: key.arn }, { alias: 'alias/named' }, { arn: aliasArn }]) {
      const { signing } = await ringOf(t, more).describe('subject', testContext());
      assert.equal(signing.version, key.arn);
      assert.equal(publicKeyPem(signing.spki), key.pem);
    }
    const { KeyMetadata } = await aws.kms<{ KeyMetadata: { KeyId: string } }>('CreateKey', {
      KeySpec: 'ECC_NIST_P256',
      KeyUsage: 'SIGN_VERIFY',
      MultiRegion: true,
    });
    assert.match(KeyMetadata.KeyId, /^mrk-/);
    assert.ok(await ringOf(t, { keyId: KeyMetadata.KeyId }).sign('subject', message, testContext()));
  });

  test('states and kinds in which a key does not sign', async (t) => {
    const key = await aws.createKey('alias/states', 'ECC_NIST_P256');
    const KeyId = key.id;
    const ring = ringOf(t, { arn: key.arn });
    const sign = () => ring.sign('subject', message, testContext());
    await sign();
    await aws.kms('DisableKey', { KeyId });
    assert.equal(await reasonOf(sign()), 'KEY_DISABLED');
    assert.equal(await reasonOf(ringOf(t, { arn: key.arn }).describe('subject', testContext())), 'KEY_DISABLED');
    await aws.kms('EnableKey', { KeyId });
    assert.ok(await sign(), 'opened anew');
    await aws.kms('ScheduleKeyDeletion', { KeyId, PendingWindowInDays: 7 });
    assert.equal(await reasonOf(sign()), 'KEY_PENDING_DELETION');

    const made = async (more: object): Promise<string> => {
      const answer = await aws.kms<{ KeyMetadata: { KeyId: string } }>('CreateKey', more);
      return reasonOf(ringOf(t, { keyId: answer.KeyMetadata.KeyId }).describe('subject', testContext()));
    };
    const signs = { KeyUsage: 'SIGN_VERIFY' };
    assert.equal(await made({ ...signs, KeySpec: 'RSA_2048', Origin: 'EXTERNAL' }), 'KEY_PENDING_IMPORT');
    assert.equal(await made({ ...signs, KeySpec: 'ECC_SECG_P256K1' }), 'KEY_UNSUPPORTED');
    assert.equal(await made({ KeySpec: 'RSA_2048', KeyUsage: 'ENCRYPT_DECRYPT' }), 'KEY_UNSUPPORTED');
    assert.equal(await made({}), 'KEY_UNSUPPORTED');
    const elsewhere = ringOf(t, { keyId: key.id, region: 'us-east-1' }).describe('subject', testContext());
    assert.equal(await reasonOf(elsewhere), 'KEY_NOT_FOUND');
  });

  test('a role with its external id, from a profile', async (t) => {
    const sts = await startForwarder(aws.endpoint);
    t.after(() => sts.stop());
    const file = join(temporaryFolder('aws-config'), 'config');
    const base = '[profile base]\naws_access_key_id = base\naws_secret_access_key = of-a-test\n';
    const role =
      'role_arn = arn:aws:iam::000000000000:role/signer\nexternal_id = the-external-id\nsource_profile = base\n';
    writeFileSync(file, `${base}[profile signer]\nregion = ${region}\n${role}`);
    Object.assign(process.env, { AWS_CONFIG_FILE: file, AWS_ENDPOINT_URL_STS: `http://${sts.host}` });
    t.after(() => {
      delete process.env['AWS_ENDPOINT_URL_STS'];
      Object.assign(process.env, aws.env);
    });
    await aws.createKey('alias/role', 'ECC_NIST_P256');
    const ring = ringOf(t, { alias: 'alias/role', profile: 'signer', region: undefined });
    await ring.sign('subject', message, testContext());
    await ring.sign('subject', message, testContext());
    assert.equal(sts.bodies.length, 1);
    const asked = new URLSearchParams(sts.bodies[0]);
    assert.deepEqual([asked.get('Action'), asked.get('ExternalId')], ['AssumeRole', 'the-external-id']);
  });

  test('a role with its external id, from the configuration', async (t) => {
    const sts = await startForwarder(aws.endpoint);
    t.after(() => sts.stop());
    process.env['AWS_ENDPOINT_URL_STS'] = `http://${sts.host}`;
    t.after(() => delete process.env['AWS_ENDPOINT_URL_STS']);
    const key = await aws.createKey('alias/configured-role', 'ECC_NIST_P256');
    const role = {
      arn: 'arn:aws:iam::000000000000:role/signer',
      externalId: 'the-external-id',
      sessionName: 'release',
      durationSeconds: 900,
    };
    const ring = ringOf(t, { arn: key.arn, role });
    await ring.sign('subject', message, testContext());
    await ring.sign('subject', message, testContext());
    assert.equal(sts.bodies.length, 1);
    const asked = new URLSearchParams(sts.bodies[0]);
    assert.deepEqual(
      ['Action', 'RoleArn', 'ExternalId', 'RoleSessionName', 'DurationSeconds'].map((field) => asked.get(field)),
      ['AssumeRole', role.arn, 'the-external-id', 'release', '900'],
    );
  });

  test('imported material that expires: its end is the end of the version', async (t) => {
    const made = await aws.kms<{ KeyMetadata: { KeyId: string } }>('CreateKey', {
      KeySpec: 'ECC_NIST_P256',
      KeyUsage: 'SIGN_VERIFY',
      Origin: 'EXTERNAL',
    });
    const KeyId = made.KeyMetadata.KeyId;
    const { PublicKey, ImportToken } = await aws.kms<{ PublicKey: string; ImportToken: string }>(
      'GetParametersForImport',
      { KeyId, WrappingAlgorithm: 'RSAES_OAEP_SHA_256', WrappingKeySpec: 'RSA_4096' },
    );
    const wrapping = createPublicKey({ key: Buffer.from(PublicKey, 'base64'), format: 'der', type: 'spki' });
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const material = pair.privateKey.export({ type: 'pkcs8', format: 'der' });
    const ValidTo = Math.floor(Date.now() / 1000) + 3600;
    await aws.kms('ImportKeyMaterial', {
      KeyId,
      ImportToken,
      EncryptedKeyMaterial: publicEncrypt({ key: wrapping, oaepHash: 'sha256' }, material).toString('base64'),
      ExpirationModel: 'KEY_MATERIAL_EXPIRES',
      ValidTo,
    });
    const ring = ringOf(t, { keyId: KeyId });
    const { versions, signing, origin, protectionLevel, evidence } = await ring.describe('subject', testContext());
    assert.deepEqual(
      [origin, protectionLevel, evidence['ExpirationModel']],
      ['imported', 'hsm', 'KEY_MATERIAL_EXPIRES'],
    );
    assert.equal(versions[0]?.validUntil, new Date(ValidTo * 1000).toISOString());
    assert.deepEqual(Buffer.from(signing.spki), pair.publicKey.export({ type: 'spki', format: 'der' }));
    assert.ok(await ring.sign('subject', message, testContext()));
    await aws.kms('DeleteImportedKeyMaterial', { KeyId });
    assert.equal(await reasonOf(ring.sign('subject', message, testContext())), 'KEY_PENDING_IMPORT');
  });

  test('a multi-Region key and its replica: two ARNs, one public key', async (t) => {
    const { id, arn } = await aws.createKey('alias/multi', 'ECC_NIST_P256', { MultiRegion: true });
    await aws.kms('ReplicateKey', { KeyId: id, ReplicaRegion: 'us-east-1' });
    const replicaArn = arn.replace(region, 'us-east-1');
    const primary = await ringOf(t, { arn }).describe('subject', testContext());
    const ring = ringOf(t, { arn: replicaArn, region: undefined });
    const replica = await ring.describe('subject', testContext());
    assert.deepEqual([primary.signing.version, replica.signing.version], [arn, replicaArn]);
    assert.equal(primary.signing.hint, replica.signing.hint);
    assert.deepEqual(
      [primary, replica].map(({ evidence }) => evidence['MultiRegionKeyType']),
      ['PRIMARY', 'REPLICA'],
    );
    assert.deepEqual(
      [primary, replica].map(({ evidence }) => evidence['PrimaryKey']),
      [arn, arn],
    );
    const { signature } = await ring.sign('subject', message, testContext());
    assert.ok(verifySignature(primary.signing, message, signature));
  });

  describe('beside cosign', { skip: skipWithout('cosign-3.1.3', 'ministack') }, () => {
    const folder = temporaryFolder('aws-cosign');
    const path = (name: string): string => join(folder, name);
    const blob = path('blob');
    const certificate = selfSigned();
    before(() => {
      writeFileSync(blob, message.message);
      writeFileSync(path('other'), 'something else');
      writeFileSync(path('ca.pem'), certificate.cert);
    });

    /** cosign reaches an endpoint in its key by https only; without one, AWS_ENDPOINT_URL_KMS may be http. */
    const endpoints = async (t: TestContext) => {
      const tls = await startForwarder(aws.endpoint, certificate);
      t.after(() => tls.stop());
      return [
        { host: tls.host, env: { ...aws.env, SSL_CERT_FILE: path('ca.pem') } },
        { host: '', env: { ...aws.env, AWS_ENDPOINT_URL_KMS: aws.endpoint } },
      ] as const;
    };

    test('an endpoint whose certificate is by no known CA is not spoken to', async (t) => {
      const [{ host }] = await endpoints(t);
      const ring = ringOf(t, { ref: `awskms://${host}/alias/x`, endpoint: undefined });
      const error = await rejection(ring.describe('subject', testContext()));
      assert.deepEqual([error.reason, error.retryAfterMs], ['KEY_UNAVAILABLE', undefined]);
      assert.match(error.message, /did not pass TLS verification/);
    });

    for (const spec of ['ECC_NIST_P256', 'RSA_2048'] as const) {
      test(`${spec}: each verifies what the other signed, by endpoint and without`, async (t) => {
        const { pem } = await aws.createKey(`alias/cosign-${spec}`, spec);
        await aws.createKey(`alias/stranger-${spec}`, spec);
        for (const { host, env } of await endpoints(t)) {
          const key = `awskms://${host}/alias/cosign-${spec}`;
          const call = { version: '3.1.3', env, legacy: true } as const;
          const over = host === '' ? {} : { endpoint: undefined, caFile: path('ca.pem') };
          const { signature } = await ringOf(t, { ref: key, ...over }).sign('subject', message, testContext());
          const file = path('ours');
          writeFileSync(file, Buffer.from(signature).toString('base64'));
          succeeded(await cosignVerifyBlob({ ...call, key, blob, signature: file }));
          const stranger = key.replace('cosign-', 'stranger-');
          assert.notEqual((await cosignVerifyBlob({ ...call, key: stranger, blob, signature: file })).code, 0);
          assert.notEqual((await cosignVerifyBlob({ ...call, key, blob: path('other'), signature: file })).code, 0);

          const output = path('theirs');
          succeeded(await cosignSignBlob({ ...call, key, blob, output }));
          const theirs = Buffer.from(readFileSync(output, 'utf8'), 'base64');
          assert.ok(verifySignature(parsePublicKeyPem(pem), message, theirs));
          const other = { kind: 'message', message: Buffer.from('other') } as const;
          assert.equal(verifySignature(parsePublicKeyPem(pem), other, theirs), false);
        }
      });
    }
  });
});

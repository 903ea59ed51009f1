// Keys in AWS KMS as LocalStack has it: the same contract, and what it does as AWS documents it where MiniStack does not: no
// public key of a key that is pending deletion, ids that are fixed, aliases in pages.
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { after, before, describe, type TestContext, test } from 'node:test';
import { algorithms } from '../../src/keys/algorithms.ts';
import { openAwsKey } from '../../src/keys/aws.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import type { Key } from '../../src/keys/port.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { type AwsPeer, region } from './aws-peer.ts';
import { startLocalstack } from './localstack.ts';
import { skipWithout } from './peer.ts';

/** It has no Ed25519, and a signature with 4096 bits takes it so long that sixteen at once are none of its strengths. */
const names = (Object.keys(algorithms) as AlgorithmName[]).filter((name) => !/ed25519|4096/.test(name));
const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

const specOf = (name: AlgorithmName): string => {
  const row = algorithms[name];
  if (row.type === 'rsa') return `RSA_${row.modulusBits}`;
  return row.type === 'ec' ? `ECC_NIST_${row.curve.replace('-', '')}` : assert.fail(name);
};

describe('keys in AWS KMS, by LocalStack', { skip: skipWithout('localstack') }, () => {
  let aws: AwsPeer;
  before(async () => {
    aws = await startLocalstack();
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    Object.assign(process.env, aws.env);
  });
  after(() => aws?.stop());

  const settings = (more: object) => {
    const parsed = keySettings.parse({ name: 'subject', kind: 'aws', endpoint: aws.endpoint, region, ...more });
    assert.ok(parsed.kind === 'aws');
    return parsed;
  };
  const open = async (t: TestContext, more: object): Promise<Key> => {
    const key = await openAwsKey(settings(more), { awsClients: createLeases() }, testContext());
    t.after(() => key.close());
    return key;
  };
  const refused = async (work: Promise<unknown>): Promise<readonly [string, string]> => {
    const { reason, message: words } = await rejection(work);
    return [reason, words];
  };

  for (const algorithm of names) {
    const row = algorithms[algorithm];
    keyContract({
      label: `LocalStack, ${algorithm}`,
      backend: 'aws',
      algorithm,
      protectionLevel: 'fips-140-3-l3',
      open: async (): Promise<Keyring> => {
        const alias = `alias/contract-${algorithm}`;
        await aws.createKey(alias, specOf(algorithm));
        const padding = row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {};
        return openKeyring([settings({ ref: `awskms:///${alias}`, ...padding })]);
      },
    });
  }

  test('disabled, and enabled again: signing says so, and what is open still knows its public key', async (t) => {
    const { id, arn } = await aws.createKey('alias/disabled', 'ECC_NIST_P256');
    const key = await open(t, { alias: 'alias/disabled' });
    await aws.kms('DisableKey', { KeyId: id });
    assert.equal((await refused(key.sign(message, testContext())))[0], 'KEY_DISABLED');
    assert.equal((await refused(open(t, { alias: 'alias/disabled' })))[0], 'KEY_DISABLED');
    assert.deepEqual([key.description.signing.version, key.description.versions.length], [arn, 1]);
    await aws.kms('EnableKey', { KeyId: id });
    assert.ok(verifySignature(key.description.signing, message, await key.sign(message, testContext())));
  });

  test('pending deletion: not opened, with the date; no public key is given', async (t) => {
    const { id } = await aws.createKey('alias/deleted', 'ECC_NIST_P384');
    const key = await open(t, { keyId: id });
    await aws.kms('ScheduleKeyDeletion', { KeyId: id, PendingWindowInDays: 7 });
    await assert.rejects(aws.kms('GetPublicKey', { KeyId: id }), /KMSInvalidStateException/);
    assert.equal((await refused(key.sign(message, testContext())))[0], 'KEY_PENDING_DELETION');
    const [reason, words] = await refused(open(t, { keyId: id }));
    assert.equal(reason, 'KEY_PENDING_DELETION');
    const day = new Date(Date.now() + 7 * 86_400_000).toISOString().slice(0, 10);
    assert.match(words, new RegExp(`scheduled for deletion on ${day}T`));
    await aws.kms('CancelKeyDeletion', { KeyId: id });
    assert.equal((await refused(open(t, { keyId: id })))[0], 'KEY_DISABLED', 'as AWS leaves it');
  });

  test('no material yet; unknown; of another region', async (t) => {
    const { KeyMetadata } = await aws.kms<{ KeyMetadata: { KeyId: string } }>('CreateKey', {
      KeySpec: 'RSA_2048',
      KeyUsage: 'SIGN_VERIFY',
      Origin: 'EXTERNAL',
    });
    assert.equal((await refused(open(t, { keyId: KeyMetadata.KeyId })))[0], 'KEY_PENDING_IMPORT');
    assert.equal((await refused(open(t, { keyId: randomUUID() })))[0], 'KEY_NOT_FOUND');
    assert.equal((await refused(open(t, { alias: 'alias/absent' })))[0], 'KEY_NOT_FOUND');
    const { id } = await aws.createKey('alias/here', 'ECC_NIST_P256');
    assert.equal((await refused(open(t, { keyId: id, region: 'us-east-1' })))[0], 'KEY_NOT_FOUND');
  });

  test('a key whose id and material are known beforehand', async (t) => {
    const id = randomUUID();
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const material = privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64');
    const Tags = [
      { TagKey: '_custom_id_', TagValue: id },
      { TagKey: '_custom_key_material_', TagValue: material },
    ];
    await aws.createKey('alias/fixed', 'ECC_NIST_P256', { Tags });
    const { signing } = (await open(t, { keyId: id })).description;
    assert.equal(signing.version, `arn:aws:kms:${region}:000000000000:key/${id}`);
    assert.deepEqual(Buffer.from(signing.spki), publicKey.export({ type: 'spki', format: 'der' }));
  });

  test('a multi-Region key and its replica sign for each other', async (t) => {
    const { id, arn, pem } = await aws.createKey('alias/multi', 'ECC_NIST_P256', { MultiRegion: true });
    await aws.kms('ReplicateKey', { KeyId: id, ReplicaRegion: 'us-east-1' });
    const primary = await open(t, { arn });
    const replica = await open(t, { arn: arn.replace(region, 'us-east-1'), region: undefined });
    const said = ({ description: { evidence } }: Key) => [evidence['MultiRegionKeyType'], evidence['ReplicaRegions']];
    assert.deepEqual(
      [said(primary), said(replica)],
      [
        ['PRIMARY', 'us-east-1'],
        ['REPLICA', 'us-east-1'],
      ],
    );
    assert.deepEqual(Buffer.from(primary.description.signing.spki), Buffer.from(replica.description.signing.spki));
    assert.notEqual(primary.description.signing.version, replica.description.signing.version);
    const signature = await replica.sign(message, testContext());
    assert.ok(verifySignature(primary.description.signing, message, signature), pem);
  });

  test('rotation by alias among more aliases than one page lists: the key that is opened next is the new one', async (t) => {
    const old = await aws.createKey('alias/rotated', 'ECC_NIST_P256');
    const filler = Array.from({ length: 60 }, (_, index) => ({
      AliasName: `alias/filler-${index}`,
      TargetKeyId: old.id,
    }));
    for (const alias of filler) await aws.kms('CreateAlias', alias);
    const page = await aws.kms<{ Truncated: boolean }>('ListAliases', { Limit: 50 });
    assert.equal(page.Truncated, true);
    const before = await open(t, { alias: 'alias/rotated' });
    const next = await aws.createKey('alias/next', 'ECC_NIST_P256');
    await aws.kms('UpdateAlias', { AliasName: 'alias/rotated', TargetKeyId: next.id });
    const rotated = await open(t, { alias: 'alias/rotated' });
    assert.deepEqual(
      [before, rotated].map(({ description }) => description.signing.version),
      [old.arn, next.arn],
    );
    assert.ok(verifySignature(before.description.signing, message, await before.sign(message, testContext())));
  });
});

// A keyring over one key in the fake KMS, and what its tests share.
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { openAwsKey } from '../../src/keys/aws.ts';
import type { AwsClient } from '../../src/keys/aws/client.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import type { Key } from '../../src/keys/port.ts';
import { keySettings, type KeySettings } from '../../src/keys/settings.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { type FakeKey, type FakeKms, type Fault, region, startFakeKms } from './fake-kms.ts';

export const accessKeyId = 'AKIDOFATEST';
export const secretAccessKey = 'the-secret-of-a-test';

/** The AWS environment of this process: these credentials and nothing of the machine's. */
export const isolateAws = (): void => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/nonexistent/config',
    AWS_SHARED_CREDENTIALS_FILE: '/nonexistent/credentials',
  });
};
isolateAws();

export const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

export const awsKey = (endpoint: string, more: object): KeySettings =>
  keySettings.parse({ name: 'subject', kind: 'aws', endpoint, region, ...more });

export const started = async (t: TestContext): Promise<FakeKms> => {
  const kms = await startFakeKms();
  t.after(() => kms.close());
  return kms;
};
export const ringOf = (t: TestContext, endpoint: string, more: object): Keyring => {
  const ring = openKeyring([awsKey(endpoint, more)]);
  t.after(() => ring.close());
  return ring;
};
/** A P-256 key behind `alias/release`. */
export const unopened = async (t: TestContext): Promise<{ kms: FakeKms; key: FakeKey }> => {
  const kms = await started(t);
  const key = kms.createKey();
  kms.setAlias('alias/release', key);
  return { kms, key };
};
/** Such a key in a keyring that opens it when it is needed. */
export const opened = async (t: TestContext): Promise<{ kms: FakeKms; key: FakeKey; ring: Keyring }> => {
  const { kms, key } = await unopened(t);
  return { kms, key, ring: ringOf(t, kms.endpoint, { alias: 'alias/release' }) };
};
export const reset: Fault = (_, response) => {
  response.destroy();
  return 'handled';
};
/** The key itself, without the keyring and what that adds (retries, verification). */
export const openKeyAt = async (
  t: TestContext,
  endpoint: string,
  more: object,
  context = testContext(),
  awsClients = createLeases<AwsClient>(),
): Promise<Key> => {
  const settings = awsKey(endpoint, more);
  assert.ok(settings.kind === 'aws');
  const key = await openAwsKey(settings, { awsClients }, context);
  t.after(() => key.close());
  return key;
};
/** Opens the key, lets signing fail, and answers with the error of the key itself. */
export const failing = async (t: TestContext, fault: Parameters<FakeKms['fail']>[1], context = testContext) => {
  const kms = await started(t);
  const fake = kms.createKey();
  const key = await openKeyAt(t, kms.endpoint, { arn: fake.arn });
  await key.sign(message, testContext());
  kms.fail('Sign', fault);
  const before = kms.count('Sign');
  const error = await rejection(key.sign(message, context()));
  return { error, calls: kms.count('Sign') - before, kms, key };
};

// A keyring over one key in the fake KMS, and what its tests share.
import type { TestContext } from 'node:test';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
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
/** A P-256 key behind `alias/release`, not yet opened. */
export const opened = async (t: TestContext): Promise<{ kms: FakeKms; key: FakeKey; ring: Keyring }> => {
  const kms = await started(t);
  const key = kms.createKey();
  kms.setAlias('alias/release', key);
  return { kms, key, ring: ringOf(t, kms.endpoint, { alias: 'alias/release' }) };
};
export const reset: Fault = (_, response) => {
  response.destroy();
  return 'handled';
};
/** Opens the key, lets signing fail, and answers with the error. */
export const failing = async (t: TestContext, fault: Parameters<FakeKms['fail']>[1], context = testContext) => {
  const { kms, ring, key } = await opened(t);
  await ring.sign('subject', message, testContext());
  kms.fail('Sign', fault);
  const before = kms.count('Sign');
  const error = await rejection(ring.sign('subject', message, context()));
  return { error, calls: kms.count('Sign') - before, kms, ring, key };
};

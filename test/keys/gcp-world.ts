// A keyring over one key in the Google Cloud KMS of ours, and what its tests share.
import type { TestContext } from 'node:test';
import { openGcpKey } from '../../src/keys/gcp.ts';
import { gcpSettings } from '../../src/keys/gcp/settings.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { createLeases } from '../../src/keys/leases.ts';
import type { Key } from '../../src/keys/port.ts';
import { type KeySettings, keySettings } from '../../src/keys/settings.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { type FakeGcp, type Fault, startFakeGcp } from './fake-gcp.ts';
import type { KmsAlgorithm } from './fake-gcp-crypto.ts';

/** No credentials and no metadata service of the machine. */
for (const name of Object.keys(process.env)) if (/^(?:GOOGLE|CLOUDSDK|GCLOUD)_/.test(name)) delete process.env[name];
Object.assign(process.env, { METADATA_SERVER_DETECTION: 'none', CLOUDSDK_CONFIG: '/nonexistent' });

export const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

export const gcpKey = (endpoint: string, name: string, more: object = {}): KeySettings =>
  keySettings.parse({ name: 'subject', kind: 'gcp', endpoint, ref: `gcpkms://${name}`, ...more });

export const started = async (t: TestContext, ...certificate: Parameters<typeof startFakeGcp>): Promise<FakeGcp> => {
  const kms = await startFakeGcp(...certificate);
  t.after(() => kms.close());
  return kms;
};
export const ringOf = (t: TestContext, endpoint: string, name: string, more: object = {}): Keyring => {
  const ring = openKeyring([gcpKey(endpoint, name, more)]);
  t.after(() => ring.close());
  return ring;
};
/** A key with one version of each algorithm (default: one of P-256), not yet opened. */
export const opened = async (t: TestContext, more: object = {}, ...algorithms: readonly KmsAlgorithm[]) => {
  const kms = await started(t);
  const key = kms.createKey(...algorithms);
  const [version] = key.versions;
  if (version === undefined) throw new Error('no version');
  return { kms, key, version, ring: ringOf(t, kms.endpoint, key.name, more) };
};
/** The bare key, without the retries and checks of the keyring. */
export const keyOf = async (t: TestContext, endpoint: string, name: string, more: object = {}): Promise<Key> => {
  const settings = gcpSettings.parse({ name: 'subject', kind: 'gcp', endpoint, ref: `gcpkms://${name}`, ...more });
  const key = await openGcpKey(settings, { gcpClients: createLeases() }, testContext());
  t.after(() => key.close());
  return key;
};
/** Opens the key, lets signing fail, and answers with the error of one attempt. */
export const failing = async (t: TestContext, fault: Fault, context = testContext) => {
  const world = await opened(t);
  const bare = await keyOf(t, world.kms.endpoint, world.key.name);
  world.kms.fail('AsymmetricSign', fault);
  const error = await rejection(bare.sign(message, context()));
  return { ...world, bare, error, calls: world.kms.count('AsymmetricSign') };
};

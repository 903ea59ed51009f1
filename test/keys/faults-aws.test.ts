// The faults of test/peers/faults-aws.test.ts, before a KMS of ours.
import { createPublicKey } from 'node:crypto';
import { after } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { awsFaults, awsProxy, awsSettings } from '../contract/keys/fault-aws.ts';
import { secretAccessKey } from './aws-world.ts';
import { region, startFakeKms } from './fake-kms.ts';

const kms = await startFakeKms();
after(() => kms.close());
const { arn, privateKey } = kms.createKey();
const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }).toString();
const backend = { endpoint: kms.endpoint, region, arn, publicKey, secrets: [secretAccessKey] };

keyContract({
  label: 'fake KMS through the proxy',
  backend: 'aws',
  algorithm: 'ecdsa-p256-sha256',
  protectionLevel: 'fips-140-3-l3',
  open: async () => {
    const proxy = await awsProxy(backend);
    const ring = openKeyring([awsSettings(proxy.origin, backend)]);
    const close = async (): Promise<void> => {
      await ring.close();
      await proxy.close();
    };
    return { ...ring, close };
  },
});

awsFaults('fake KMS', () => backend);

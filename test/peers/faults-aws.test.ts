// Every fault before AWS KMS as MiniStack has it.
import { after, before } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract } from '../contract/keys/contract.ts';
import { type AwsBackend, awsFaults, awsProxy, awsSettings } from '../contract/keys/fault-aws.ts';
import { type Ministack, region, startMinistack } from './ministack.ts';
import { skipWithout } from './peer.ts';

const skip = skipWithout('ministack');
let aws: Ministack | undefined;
let backend: AwsBackend;
before(async () => {
  if (skip !== false) return;
  aws = await startMinistack();
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  Object.assign(process.env, aws.env);
  const { arn, pem } = await aws.createKey('alias/faults', 'ECC_NIST_P256');
  const secrets = [aws.env['AWS_SECRET_ACCESS_KEY'] ?? ''];
  backend = { endpoint: aws.endpoint, region, arn, publicKey: pem, secrets };
});
after(() => aws?.stop());

keyContract({
  label: 'MiniStack through the proxy',
  backend: 'aws',
  algorithm: 'ecdsa-p256-sha256',
  protectionLevel: 'fips-140-3-l3',
  skip,
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

awsFaults('MiniStack', () => backend, skip);

// A service whose key is in AWS KMS (MiniStack) signs an image; cosign verifies it, with the public key and with the key in KMS.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignSign, cosignVerify } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { type KmsKey, type Ministack, region, startMinistack } from './ministack.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startGgcrRegistry } from './registries.ts';

const needed = ['ministack', 'cosign-3.1.3', 'cosign-3.1.1', 'ggcr-registry', 'crane'] as const;

describe('a key in AWS KMS that the service and cosign share', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('aws-service');
  const publicKey = join(folder, 'release.pub');
  let aws: Ministack;
  let registry: Registry;
  let world: ServiceWorld;
  let key: KmsKey;
  let stranger: KmsKey;

  before(async () => {
    requirePeers(...needed);
    [aws, registry] = await Promise.all([startMinistack(), startGgcrRegistry()]);
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
    Object.assign(process.env, aws.env);
    key = await aws.createKey('alias/release', 'ECC_NIST_P256');
    stranger = await aws.createKey('alias/stranger', 'ECC_NIST_P256');
    const release = { name: 'release', kind: 'aws', ref: 'awskms:///alias/release', endpoint: aws.endpoint, region };
    world = await startServiceWorld({ plainHttpHosts: [registry.host], keys: [release] });
  });
  after(async () => {
    await world?.stop();
    await Promise.all([aws?.stop(), registry?.stop()]);
  });
  const kms = () =>
    ({
      version: '3.1.3',
      key: 'awskms:///alias/release',
      env: { ...aws.env, AWS_ENDPOINT_URL_KMS: aws.endpoint },
    }) as const;

  it('cosign verifies what the service signed', async () => {
    const { ref } = await pushTestImage(registry, 'aws/ours:v1');
    const formats = ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'];
    const signed = await world.ok<Signed>('/v1/sign', { subject: { image: ref }, key: 'release', formats });
    assert.equal(signed.key.version, key.arn);
    writeFileSync(publicKey, await world.publicKey('release'));
    writeFileSync(join(folder, 'stranger.pub'), stranger.pem);
    for (const legacy of [false, true]) {
      succeeded(await cosignVerify({ key: publicKey, ref, legacy }));
      succeeded(await cosignVerify({ ...kms(), ref, legacy }));
      assert.notEqual((await cosignVerify({ key: join(folder, 'stranger.pub'), ref, legacy })).code, 0);
    }
  });

  it('the service verifies what cosign signed', async () => {
    const { ref } = await pushTestImage(registry, 'aws/theirs:v1');
    for (const legacy of [false, true]) succeeded(await cosignSign({ ...kms(), ref, legacy }));
    const verify = (trusted: object) =>
      world.ok<VerdictJson>('/v1/verify', { subject: { image: ref }, keys: [trusted] });
    const verdict = await verify({ key: 'release' });
    assert.equal(verdict.signatures.filter(({ counts }) => counts).length, 2, verdict.summary);
    assert.equal((await verify({ pem: stranger.pem })).verified, false);
  });
});

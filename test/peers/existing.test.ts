// What cosign signed with the same key is there already: the service answers with it and signs nothing. And what the service writes
// because an image carries both layouts is what cosign needs.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld } from '../service-world.ts';
import { type CosignVersion, cosignAttest, cosignSign, cosignVerify, importKeyPair, type KeyPair } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const needed = ['cosign-3.1.1', 'cosign-2.5.0', 'ggcr-registry', 'docker-registry', 'crane'] as const;
const predicateType = 'https://example.com/predicate/v1';
const predicate = '{"stage":"release","of":[1,2.5,null]}';

type Verdict = { readonly verified: boolean; readonly notices: readonly string[] };

const made: readonly (readonly [CosignVersion, legacy: boolean])[] = [
  ['2.5.0', true],
  ['3.1.1', true],
  ['3.1.1', false],
];

describe('what cosign has signed is not signed again', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('existing');
  const predicateFile = join(folder, 'predicate.json');
  const registries: Registry[] = [];
  let pair: KeyPair;
  let other: KeyPair;
  let world: ServiceWorld;

  before(async () => {
    requirePeers(...needed);
    writeFileSync(predicateFile, predicate);
    registries.push(await startGgcrRegistry(), await startDockerRegistry());
    const [first, second] = await Promise.all(
      ['ours', 'other'].map((name) => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
        return importKeyPair(join(folder, name), privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
      }),
    );
    [pair, other] = [first ?? assert.fail(), second ?? assert.fail()];
    world = await startServiceWorld({
      plainHttpHosts: registries.map(({ host }) => host),
      keys: [
        { name: 'ours', kind: 'local', file: pair.privateKey, password: pair.password },
        { name: 'other', kind: 'local', file: other.privateKey, password: other.password },
      ],
    });
  });
  after(async () => {
    await world?.stop();
    await Promise.all(registries.map((registry) => registry.stop()));
  });

  for (const [at, where] of ['with the referrers API', 'without it'].entries()) {
    for (const [version, legacy] of made) {
      it(`${version}, ${legacy ? 'tags' : 'bundles'}, in a registry ${where}`, async () => {
        const registry = registries[at] ?? assert.fail();
        const image = await pushTestImage(registry, `existing/${version}-${legacy}:v1`);
        succeeded(await cosignSign({ version, key: pair.privateKey, legacy, ref: image.ref }));
        const attestation = { version, key: pair.privateKey, legacy, ref: image.ref, predicate: predicateFile };
        succeeded(await cosignAttest({ ...attestation, type: predicateType }));

        const sign = (more: object) =>
          world.ok<Signed>('/v1/sign', {
            subject: { image: image.ref },
            key: 'ours',
            formats: [legacy ? 'FORMAT_SIMPLE_SIGNING' : 'FORMAT_BUNDLE'],
            ...more,
          });
        const attest = (more: object) =>
          world.ok<Signed>('/v1/attest', {
            subject: { image: image.ref },
            key: 'ours',
            formats: [legacy ? 'FORMAT_DSSE' : 'FORMAT_BUNDLE'],
            predicateType,
            predicate: Buffer.from(predicate).toString('base64'),
            ifAbsent: true,
            ...more,
          });
        const existing = ({ outputs }: Signed) => outputs.map((output) => output.existing);
        assert.deepEqual(existing(await sign({})), [true]);
        assert.deepEqual(existing(await attest({})), [true]);
        assert.deepEqual(existing(await sign({ key: 'other' })), [false], 'another key');
        assert.deepEqual(existing(await sign({ annotations: { a: 'b' } })), [false], 'annotations');
        const otherPredicate = Buffer.from('{"stage":"test"}').toString('base64');
        assert.deepEqual(existing(await attest({ predicate: otherPredicate })), [false], 'another predicate');
      });
    }

    it(`an image with a .sig by another key, then a bundle: cosign accepts ours in both layouts, ${where}`, async () => {
      const registry = registries[at] ?? assert.fail();
      const image = await pushTestImage(registry, 'both/layouts:v1');
      succeeded(await cosignSign({ version: '2.5.0', key: other.privateKey, legacy: true, ref: image.ref }));
      const subject = { image: image.ref };
      const signed = await world.ok<Signed>('/v1/sign', { subject, key: 'ours', formats: ['FORMAT_BUNDLE'] });
      assert.deepEqual(
        signed.outputs.map(({ format }) => format),
        ['FORMAT_BUNDLE', 'FORMAT_SIMPLE_SIGNING'],
      );
      const by = async (version: CosignVersion, legacy: boolean, key: string): Promise<boolean> =>
        (await cosignVerify({ version, key, legacy, ref: image.ref })).code === 0;
      assert.equal(await by('2.5.0', true, pair.publicKey), true);
      assert.equal(await by('3.1.1', false, pair.publicKey), true);
      assert.equal(await by('2.5.0', true, other.publicKey), true);
      // What Verify says of the other key is what cosign does.
      const pem = readFileSync(other.publicKey, 'utf8');
      const verdict = await world.ok<Verdict>('/v1/verify', { subject, keys: [{ pem }] });
      assert.equal(verdict.verified, true);
      assert.match(verdict.notices.join(), /cosign 3, which reads the bundles alone where there are any, refuses/);
      assert.equal(await by('3.1.1', false, other.publicKey), false);
    });
  }
});

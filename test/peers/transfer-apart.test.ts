// Signatures that lie in two repositories, and what several images share: nothing of it may be lost.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { capture, type Captured } from '../cli/capture.ts';
import { cosignAttest, cosignSign, cosignVerify, generateKeyPair, type KeyPair } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { isolated, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDistribution, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const versions = ['2.5.0', '3.1.1'] as const;
const predicateType = 'https://example.com/predicate/v1';

let source: Registry;
let key: KeyPair;

const ours = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Captured> => {
  const finished = await capture([...argv, '--plain-http', '127.0.0.1'], { ...isolated(), ...env });
  assert.equal(finished.code, 0, finished.err);
  return finished;
};

const skip = skipWithout(
  'cosign-2.5.0',
  'cosign-3.1.1',
  'crane',
  'oras',
  'docker-registry',
  'distribution',
  'ggcr-registry',
);

describe('attachments in several places', { skip }, () => {
  before(async () => {
    source = await startGgcrRegistry();
    key = await generateKeyPair(temporaryFolder('key'));
  });
  after(() => source?.stop());

  it('signatures of two keys, beside the image and elsewhere, are both in what save writes: ours and cosign load them', async () => {
    const elsewhere = { COSIGN_REPOSITORY: `${source.host}/apart/signatures` };
    const other = await generateKeyPair(temporaryFolder('other-key'));
    const image = await pushTestImage(source, 'apart/app:v1');
    const predicate = join(temporaryFolder('predicate'), 'predicate.json');
    writeFileSync(predicate, '{"made":"apart"}');
    for (const [{ privateKey }, env] of [
      [key, {}],
      [other, elsewhere],
    ] as const) {
      const call = { ref: image.ref, key: privateKey, version: '2.5.0', legacy: true, env } as const;
      succeeded(await cosignSign(call));
      succeeded(await cosignAttest({ ...call, type: predicateType, predicate }));
    }
    const dir = join(temporaryFolder('saved'), 'layout');
    await ours(['save', `${image.repository}:v1`, '--dir', dir], elsewhere);
    const { host } = source;
    await ours(['load', `${host}/loaded/ours:v1`, '--dir', dir]);
    for (const version of versions) {
      succeeded(await run(`cosign-${version}`, ['load', '--dir', dir, `${host}/loaded/by-${version}:v1`]));
    }
    for (const name of ['ours', ...versions.map((version) => `by-${version}`)]) {
      for (const { publicKey } of [key, other]) {
        for (const version of versions) {
          const call = { ref: `${host}/loaded/${name}:v1`, key: publicKey, version, legacy: true } as const;
          succeeded(await cosignVerify(call));
          succeeded(await cosignVerify({ ...call, attestationType: predicateType }));
        }
      }
    }
  });

  for (const name of ['distribution 2.8', 'distribution 3.1']) {
    it(`clean of one image on ${name} leaves the SBOM that others have as well`, async (test) => {
      const registry = name === 'distribution 2.8' ? await startDockerRegistry() : await startDistribution({});
      test.after(() => registry.stop());
      const bill = join(temporaryFolder('sbom'), 'bill.json');
      writeFileSync(bill, '{"spdxVersion":"SPDX-2.3"}');
      const images = [];
      for (const at of ['one', 'two', 'three']) {
        const image = await pushTestImage(registry, `shared/app:${at}`);
        succeeded(await run('cosign-2.5.0', ['attach', 'sbom', '--sbom', bill, image.ref]));
        images.push(image);
      }
      const sbomOf = async (digest: string) =>
        (await run('crane', ['digest', '--insecure', `${registry.host}/shared/app:${digest.replace(':', '-')}.sbom`]))
          .code === 0;
      const [one = assert.fail(), two = assert.fail(), three = assert.fail()] = images;
      await ours(['clean', one.ref, '--type', 'sbom', '--force']);
      assert.deepEqual(await Promise.all(images.map(({ digest }) => sbomOf(digest))), [false, true, true]);
      for (const { ref } of images) succeeded(await run('crane', ['validate', '--remote', ref, '--insecure']));

      // What is different here on purpose: cosign 3.1.1 deletes the manifest, and with it every tag of it, where tags alone are not deleted.
      succeeded(await run('cosign-3.1.1', ['clean', '--force', '--type', 'sbom', two.ref]));
      assert.deepEqual([await sbomOf(two.digest), await sbomOf(three.digest)], [false, name === 'distribution 3.1']);
    });
  }

  it('download prints an SBOM as cosign does, every number as it is', async () => {
    const image = await pushTestImage(source, 'billed/app:v1');
    const bill = join(temporaryFolder('sbom'), 'bill.json');
    writeFileSync(bill, '{\n  "spdxVersion": "SPDX-2.3",\n  "n": 12345678901234567890\n}\n');
    succeeded(await run('cosign-2.5.0', ['attach', 'sbom', '--sbom', bill, image.ref]));
    const { out } = await ours(['download', 'sbom', image.ref]);
    for (const version of versions) {
      const theirs = succeeded(await run(`cosign-${version}`, ['download', 'sbom', image.ref])).stdout;
      assert.equal(out, theirs);
    }
  });

  const started: Readonly<Record<string, () => Promise<Registry>>> = {
    'ggcr without referrers': () => startGgcrRegistry({ referrers: false }),
    'distribution 2.8': () => startDockerRegistry(),
    'distribution 3.1': () => startDistribution({}),
  };
  for (const [name, start] of Object.entries(started)) {
    it(`clean on ${name} leaves what oras attached, and cosign signs again after it`, async (test) => {
      const registry = await start();
      test.after(() => registry.stop());
      const image = await pushTestImage(registry, 'again/app:v1');
      const file = join(temporaryFolder('attached'), 'note.txt');
      writeFileSync(file, 'a note');
      const sign = async () => {
        for (const [version, legacy] of [
          ['2.5.0', true],
          ['3.1.1', false],
        ] as const) {
          succeeded(await cosignSign({ ref: image.ref, key: key.privateKey, version, legacy }));
        }
      };
      await sign();
      await ours(['clean', image.ref, '--type', 'all', '--force']);
      await sign();
      const call = { ref: image.ref, key: key.publicKey, version: '3.1.1' } as const;
      for (const legacy of [true, false]) succeeded(await cosignVerify({ ...call, legacy }));
      const attach = ['attach', '--plain-http', '--disable-path-validation', '--artifact-type', 'text/x', image.ref];
      succeeded(await run('oras', [...attach, file]));
      await ours(['clean', image.ref, '--type', 'all', '--force']);
      for (const legacy of [true, false]) assert.notEqual((await cosignVerify({ ...call, legacy })).code, 0);
      const discover = ['discover', '--plain-http', '--format', 'json', image.ref];
      const { referrers } = JSON.parse(succeeded(await run('oras', discover)).stdout) as {
        readonly referrers: readonly { readonly artifactType: string }[];
      };
      assert.deepEqual(
        referrers.map(({ artifactType }) => artifactType),
        ['text/x'],
      );
      succeeded(await run('crane', ['validate', '--remote', image.ref, '--insecure']));
    });
  }
});

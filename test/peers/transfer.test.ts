// Images that cosign signed, moved by our copy, save and load, and by cosign's, crane's and oras' between real registries.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { capture, type Captured } from '../cli/capture.ts';
import { cosignAttest, cosignSign, cosignVerify, generateKeyPair, keyPassword, type KeyPair } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { isolated, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDistribution, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const versions = ['2.5.0', '3.1.1'] as const;
const predicateType = 'https://example.com/predicate/v1';

let source: Registry;
let destinations: Readonly<Record<string, Registry>>;
let key: KeyPair;
/** By layout: of one platform with an index, signed at the index and at one image. */
const images: Record<'tag' | 'bundle' | 'both', TestImage | undefined> = {
  tag: undefined,
  bundle: undefined,
  both: undefined,
};

const ours = async (argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Captured> => {
  const finished = await capture([...argv, '--plain-http', '127.0.0.1'], { ...isolated(), ...env });
  assert.equal(finished.code, 0, finished.err);
  return finished;
};

const signed = async (layout: 'tag' | 'bundle' | 'both'): Promise<TestImage> => {
  const image = await pushTestImage(source, `transfer/${layout}:v1`, { platforms: ['linux/amd64', 'linux/arm64'] });
  const predicate = join(temporaryFolder('predicate'), 'predicate.json');
  writeFileSync(predicate, '{"made":"here"}');
  for (const legacy of layout === 'both' ? [true, false] : [layout === 'tag']) {
    const call = { key: key.privateKey, version: legacy ? '2.5.0' : '3.1.1', legacy } as const;
    for (const { ref } of [image, ...image.platforms.slice(0, 1)]) succeeded(await cosignSign({ ...call, ref }));
    succeeded(await cosignAttest({ ...call, ref: image.ref, type: predicateType, predicate }));
  }
  return image;
};

const verified = async (
  ref: string,
  layout: 'tag' | 'bundle' | 'both',
  env: Readonly<Record<string, string>> = {},
  attested = true,
): Promise<void> => {
  for (const legacy of layout === 'both' ? [true, false] : [layout === 'tag']) {
    // cosign 2.5.0 reads no bundles of images without asking Sigstore's own trust root.
    for (const version of legacy ? versions : (['3.1.1'] as const)) {
      const call = { ref, key: key.publicKey, version, legacy, env };
      succeeded(await cosignVerify(call));
      if (attested) succeeded(await cosignVerify({ ...call, attestationType: predicateType }));
    }
  }
};

const of = (layout: 'tag' | 'bundle' | 'both'): TestImage => images[layout] ?? assert.fail('not signed');
const layouts = ['tag', 'bundle', 'both'] as const;
const skip = skipWithout(
  'cosign-2.5.0',
  'cosign-3.1.1',
  'crane',
  'oras',
  'docker-registry',
  'distribution',
  'ggcr-registry',
);

describe('images that cosign signed, moved', { skip }, () => {
  before(async () => {
    source = await startGgcrRegistry();
    destinations = {
      ggcr: await startGgcrRegistry(),
      'ggcr without referrers': await startGgcrRegistry({ referrers: false }),
      'distribution 2.8': await startDockerRegistry(),
      'distribution 3.1, basic': await startDistribution({ auth: 'basic' }),
      'distribution 3.1, token': await startDistribution({ auth: 'token' }),
    };
    key = await generateKeyPair(temporaryFolder('key'));
    for (const layout of layouts) images[layout] = await signed(layout);
  });
  after(async () => {
    await Promise.all([source, ...Object.values(destinations ?? {})].map((registry) => registry?.stop()));
  });

  const names = [
    'ggcr',
    'ggcr without referrers',
    'distribution 2.8',
    'distribution 3.1, basic',
    'distribution 3.1, token',
  ];
  for (const name of names) {
    for (const layout of layouts) {
      it(`copy to ${name}: ${layout} verified by cosign, at the index and below; again, and nothing moves`, async () => {
        const { host, env } = destinations[name] ?? assert.fail();
        const image = of(layout);
        const to = `${host}/mirror/${layout}:v1`;
        await ours(['copy', `${image.repository}:v1`, to], env);
        await verified(to, layout, env);
        await verified(`${host}/mirror/${layout}@${image.platforms[0]?.digest}`, layout, env, false);
        const again = await ours(['copy', `${image.repository}:v1`, to, '--output', 'json'], env);
        const { manifests, blobs } = JSON.parse(again.out) as {
          manifests: { outcome: string }[];
          blobs: { copied: number };
        };
        assert.ok(manifests.length > 3 && manifests.every(({ outcome }) => outcome === 'present'), again.out);
        assert.equal(blobs.copied, 0);
        // And out of it again, to another repository of the same registry.
        await ours(['copy', to, `${host}/again/${layout}:v1`], env);
        await verified(`${host}/again/${layout}:v1`, layout, env);
      });
    }

    it(`clean on ${name}: cosign finds no signature any more, and the image is there`, async () => {
      const { host, env } = destinations[name] ?? assert.fail();
      const to = `${host}/cleaned/both:v1`;
      await ours(['copy', `${of('both').repository}:v1`, to], env);
      const planned = await ours(['clean', to, '--type', 'all', '--dry-run'], env);
      assert.equal(planned.out.match(/^would be removed/gm)?.length, 4);
      await verified(to, 'both', env);
      const done = await capture(['clean', to, '--type', 'all', '--force', '--plain-http', '127.0.0.1'], {
        ...isolated(),
        ...env,
      });
      // ggcr forgets tags and manifests alike; distribution does what it is told.
      assert.equal(done.code, 0, done.out + done.err);
      for (const version of versions) {
        for (const legacy of [true, false]) {
          assert.notEqual((await cosignVerify({ ref: to, key: key.publicKey, version, legacy, env })).code, 0);
        }
      }
      succeeded(await run('crane', ['validate', '--remote', to, '--insecure'], { env }));
      const { out } = await ours(['tree', to, '--output', 'json', '--platform', 'linux/amd64'], env);
      assert.equal((JSON.parse(out) as { attached: unknown[] }).attached.length, 2);
    });
  }

  for (const layout of layouts) {
    for (const version of versions) {
      it(`${layout}: what cosign ${version} saves, load pushes`, async () => {
        const dir = join(temporaryFolder('saved'), 'layout');
        succeeded(await run(`cosign-${version}`, ['save', '--dir', dir, `${of(layout).repository}:v1`]));
        const { host } = destinations['distribution 2.8'] ?? assert.fail();
        const to = `${host}/from-cosign-${version}/${layout}:v1`;
        await ours(['load', to, '--dir', dir]);
        // cosign 2.5.0 saves no bundles.
        const carried = version === '2.5.0' ? 'tag' : layout;
        if (version !== '2.5.0' || layout !== 'bundle') await verified(to, carried);
      });

      it(`${layout}: what save writes, cosign ${version} loads`, async () => {
        const dir = join(temporaryFolder('saved'), 'layout');
        await ours(['save', `${of(layout).repository}:v1`, '--dir', dir]);
        // cosign 3.1.1 pushes a bundle's manifest before its content: registries that look refuse it, also what it saved itself.
        const { host } = destinations['ggcr'] ?? assert.fail();
        const to = `${host}/to-cosign-${version}/${layout}:v1`;
        succeeded(await run(`cosign-${version}`, ['load', '--dir', dir, to]));
        const carried = version === '2.5.0' ? 'tag' : layout;
        if (version !== '2.5.0' || layout !== 'bundle') await verified(to, carried);
      });
    }

    it(`${layout}: index.json of save lists first what cosign's own lists`, async () => {
      const [theirs, own] = [join(temporaryFolder('saved'), 'theirs'), join(temporaryFolder('saved'), 'own')];
      succeeded(await run('cosign-3.1.1', ['save', '--dir', theirs, `${of(layout).repository}:v1`]));
      await ours(['save', `${of(layout).repository}:v1`, '--dir', own]);
      const listed = (dir: string) =>
        (
          JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')) as {
            manifests: { digest: string; annotations?: { kind?: string } }[];
          }
        ).manifests
          .filter(({ annotations }) => annotations?.kind !== undefined)
          .map(({ digest, annotations }) => [digest, annotations?.kind]);
      assert.deepEqual(listed(own), listed(theirs));
    });
  }

  it('crane and oras read what save writes, and load reads what they write', async () => {
    const image = of('bundle');
    const { host } = destinations['distribution 2.8'] ?? assert.fail();
    const own = join(temporaryFolder('saved'), 'own');
    await ours(['save', `${image.repository}:v1`, '--dir', own]);
    succeeded(await run('crane', ['validate', '--remote', `${image.repository}:v1`, '--insecure']));
    succeeded(
      await run('oras', ['cp', '-r', '--from-oci-layout', `${own}:v1`, '--to-plain-http', `${host}/by-oras/app:v1`]),
    );
    await verified(`${host}/by-oras/app:v1`, 'bundle');

    const byOras = join(temporaryFolder('saved'), 'oras');
    succeeded(
      await run('oras', ['cp', '-r', '--from-plain-http', `${image.repository}:v1`, '--to-oci-layout', `${byOras}:v1`]),
    );
    await ours(['load', `${host}/oras/app:v1`, '--dir', byOras]);
    await verified(`${host}/oras/app:v1`, 'bundle');

    const byCrane = join(temporaryFolder('saved'), 'crane');
    succeeded(await run('crane', ['pull', '--format', 'oci', '--insecure', `${image.repository}:v1`, byCrane]));
    await ours(['load', `${host}/crane/app:v1`, '--dir', byCrane]);
    const digest = succeeded(await run('crane', ['digest', `${host}/crane/app:v1`, '--insecure'])).stdout.trim();
    assert.equal(digest, image.digest);
  });

  it('oras and crane copy on what our copy wrote', async () => {
    const { host } = destinations['ggcr without referrers'] ?? assert.fail();
    const image = of('bundle');
    await ours(['copy', `${image.repository}:v1`, `${host}/ours/app:v1`]);
    const discovered = succeeded(
      await run('oras', ['discover', '--plain-http', '--format', 'json', `${host}/ours/app:v1`]),
    );
    const { referrers } = JSON.parse(discovered.stdout) as { referrers: unknown[] };
    assert.equal(referrers.length, 2);
    succeeded(
      await run('oras', [
        'cp',
        '-r',
        '--from-plain-http',
        '--to-plain-http',
        `${host}/ours/app:v1`,
        `${host}/on/app:v1`,
      ]),
    );
    await verified(`${host}/on/app:v1`, 'bundle');
  });

  it('download prints the lines of cosign', async () => {
    for (const [layout, version] of [
      ['tag', '2.5.0'],
      ['tag', '3.1.1'],
      ['bundle', '3.1.1'],
    ] as const) {
      const image = `${of(layout).repository}:v1`;
      const theirs = async (...args: string[]): Promise<string[]> =>
        succeeded(await run(`cosign-${version}`, ['download', ...args, image]))
          .stdout.trim()
          .split('\n')
          .sort();
      const lines = async (...args: string[]): Promise<string[]> =>
        (await ours(['download', ...args, image])).out.trim().split('\n').sort();
      const filter = ['attestation', '--predicate-type', predicateType];
      assert.deepEqual(await lines(...filter), await theirs(...filter), `${layout} ${version}`);
      // Of bundles cosign 3 prints signatures and attestations alike, whichever is asked for.
      const both =
        layout === 'bundle'
          ? [...(await lines('signature')), ...(await lines('attestation'))].sort()
          : await lines('signature');
      assert.deepEqual(both, await theirs('signature'));
    }
  });

  it('another repository for signatures, on both sides, as COSIGN_REPOSITORY', async () => {
    const [from, to] = [source.host, destinations['distribution 2.8']?.host ?? assert.fail()];
    const image = await pushTestImage(source, 'elsewhere/app:v1');
    for (const legacy of [true, false]) {
      const env = { COSIGN_REPOSITORY: `${from}/elsewhere/signatures`, COSIGN_PASSWORD: keyPassword };
      succeeded(
        await cosignSign({ ref: image.ref, key: key.privateKey, legacy, version: legacy ? '2.5.0' : '3.1.1', env }),
      );
    }
    await ours(
      ['copy', `${image.repository}:v1`, `${to}/moved/app:v1`, '--to-signature-repository', `${to}/moved/signatures`],
      { COSIGN_REPOSITORY: `${from}/elsewhere/signatures` },
    );
    await verified(`${to}/moved/app:v1`, 'both', { COSIGN_REPOSITORY: `${to}/moved/signatures` }, false);
    assert.notEqual(
      (await cosignVerify({ ref: `${to}/moved/app:v1`, key: key.publicKey, version: '2.5.0', legacy: true })).code,
      0,
    );
  });
});

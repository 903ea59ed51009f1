// What clean must leave: what others have made, share, or add at the same time.
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { Manifest } from '../../src/dev/registry/client.ts';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import type { Digest } from '../../src/model/digest.ts';
import { capture } from '../cli/capture.ts';
import { type Happening, inFrontOf } from './front.ts';
import { ociIndex, ociManifest, pushEverything, registry, repository } from './world.ts';

type Report = {
  readonly attachments: readonly { readonly outcome: string; readonly digest: Digest }[];
  readonly error?: { readonly code: string };
};

const cleaned = async (image: string, type: string, ...more: readonly string[]) => {
  const { code, out, err } = await capture(['clean', image, '--type', type, '--output', 'json', ...more], {
    HOME: '/nonexistent',
  });
  const report = JSON.parse(out || assert.fail(err)) as Report;
  const of = (digest: Digest) => report.attachments.find((one) => one.digest === digest)?.outcome;
  return { code, err, of, error: report.error, outcomes: report.attachments.map(({ outcome }) => outcome) };
};

const tagOf = (subject: Digest, suffix = ''): string => `${subject.replace(':', '-')}${suffix}`;
const deletesNoTags: NonNullable<Happening['before']> = (method, path) =>
  method === 'DELETE' && !path.includes('/manifests/sha256:') ? 405 : undefined;

/** An image in a registry, seen through something that happens in front of it. */
const started = async (test: TestContext, options: DevRegistryOptions = {}) => {
  const { host } = await registry(test, options);
  const there = repository(host, 'acme/app');
  const image = await there.image('app', 'v1');
  const through = async (happening: Happening) => `${await inFrontOf(test, host, happening)}/acme/app:v1`;
  return { host, there, image, through };
};

/** Runs once, for the first request that fits. */
const once = (fits: (method: string, path: string) => boolean, run: () => Promise<unknown>) => {
  let ran = false;
  return async (method: string, path: string): Promise<undefined> => {
    if (ran || !fits(method, path)) return;
    ran = true;
    await run();
  };
};

describe('clean leaves what is not its own', () => {
  it('an SBOM that two images share, and its signature, where manifests are deleted by digest alone', async (test) => {
    const { there, image, through } = await started(test);
    const other = await there.image('other', 'v2');
    const sbom = await there.signatures(image, ['bill'], 'sbom');
    assert.equal(await there.signatures(other, ['bill'], 'sbom'), sbom);
    const signature = await there.signatures(sbom, ['signed bill']);
    const { code, outcomes } = await cleaned(await through({ before: deletesNoTags }), 'sbom', '--force');
    assert.deepEqual([code, outcomes], [0, ['removed']]);
    assert.equal((await there.manifest(tagOf(other, '.sbom'))).digest, sbom);
    assert.equal((await there.manifest(tagOf(sbom, '.sig'))).digest, signature);
    assert.ok(!(await there.tags()).includes(tagOf(image, '.sbom')));
  });

  it('a repository for signatures that the environment names, as other images of that digest share it', async (test) => {
    const { host, there, image } = await started(test);
    await there.signatures(image, ['beside']);
    const shared = repository(host, 'acme/signatures');
    const signature = await shared.signatures(image, ['shared']);
    const [name, tag] = [`${host}/acme/signatures`, tagOf(image, '.sig')];
    const argv = ['clean', `${host}/acme/app:v1`, '--type', 'all', '--force'];
    const done = await capture(argv, { HOME: '/nonexistent', COSIGN_REPOSITORY: name });
    assert.equal(done.code, 0, done.err);
    assert.equal((await shared.manifest(tag)).digest, signature);
    assert.ok(!(await there.tags()).includes(tag));
    await cleaned(`${host}/acme/app:v1`, 'all', '--force', '--signature-repository', name);
    assert.ok(!(await shared.tags()).includes(tag));
  });

  it('a tag as it was, where nothing can be deleted', async (test) => {
    const { there, image, through } = await started(test);
    const sig = await there.signatures(image, ['one']);
    const refuses: Happening = { before: (method) => (method === 'DELETE' ? 405 : undefined) };
    const { code, outcomes } = await cleaned(await through(refuses), 'all', '--force');
    assert.deepEqual([code, outcomes], [10, ['refused']]);
    assert.equal((await there.manifest(tagOf(image, '.sig'))).digest, sig);
  });

  for (const tags of [true, false]) {
    it(`a signature that was added after clean has looked, where tags are ${tags ? '' : 'not '}deleted`, async (test) => {
      const { there, image, through } = await started(test);
      await there.signatures(image, ['one']);
      const path = `/manifests/${tagOf(image, '.sig')}`;
      const add = () => there.signatures(image, ['one', 'two']);
      const after = once((method, url) => method === 'GET' && url.endsWith(path), add);
      const { code, outcomes } = await cleaned(
        await through({ after, ...(tags ? {} : { before: deletesNoTags }) }),
        'signature',
        '--force',
      );
      assert.deepEqual([code, outcomes], [10, ['changed']]);
      assert.equal((await there.manifest(tagOf(image, '.sig'))).manifest.layers?.length, 2);
    });
  }

  it('a signature that is added right before the tag would go by digest', async (test) => {
    const { there, image, through } = await started(test);
    await there.signatures(image, ['one']);
    let deletions = 0;
    const add = once(
      (method, path) => method === 'DELETE' && path.includes('/manifests/sha256:') && ++deletions === 2,
      () => there.signatures(image, ['one', 'two']),
    );
    const before: Happening['before'] = async (method, path) => deletesNoTags(method, path) ?? add(method, path);
    const { code, outcomes } = await cleaned(await through({ before }), 'signature', '--force');
    assert.deepEqual([code, outcomes], [10, ['changed']]);
    assert.equal((await there.manifest(tagOf(image, '.sig'))).manifest.layers?.length, 2);
  });

  for (const etag of [true, 'ignored'] as const) {
    const conditions = etag === true ? 'honoured' : 'ignored';
    it(`what is added to the fallback index as it is emptied, conditions ${conditions}`, async (test) => {
      const { there, image, through } = await started(test, { referrers: false, etag });
      const [bundle, other] = [await there.bundle(image, 'bundle'), await there.bundle(image, 'other')];
      await there.fallback(image, [bundle]);
      const isIndexWrite = (method: string, path: string) =>
        method === 'PUT' && path.endsWith(`/manifests/${tagOf(image)}`);
      const add = () => there.fallback(image, [other]);
      let emptied = false;
      const before = once((method) => emptied && method === 'DELETE', add);
      const after = async (method: string, path: string): Promise<void> => {
        if (isIndexWrite(method, path)) emptied = (await there.manifest(tagOf(image))).manifest.manifests?.length === 0;
      };
      const { code, of } = await cleaned(await through({ before, after }), 'signature', '--force');
      assert.deepEqual([code, of(bundle)], [0, 'removed']);
      const { manifests } = (await there.manifest(tagOf(image))).manifest;
      assert.deepEqual(
        manifests?.map(({ digest }) => digest),
        [other],
      );
    });

    it(`what is added to the fallback index as it is written, conditions ${conditions}`, async (test) => {
      const { there, image, through } = await started(test, { referrers: false, etag });
      const [bundle, kept] = [await there.bundle(image, 'bundle'), await there.bundle(image, 'kept', 'https://kept')];
      const other = await there.bundle(image, 'other', 'https://other');
      await there.fallback(image, [bundle, kept]);
      const write = once(
        (method, path) => method === 'PUT' && path.endsWith(`/manifests/${tagOf(image)}`),
        () => there.fallback(image, [bundle, kept, other]),
      );
      // One who has read before; without conditions he may also be late.
      const happening: Happening = etag === true ? { before: write } : { after: write };
      const { code, of } = await cleaned(await through(happening), 'signature', '--force');
      assert.deepEqual([code, of(bundle)], [0, 'removed']);
      const { manifests } = (await there.manifest(tagOf(image))).manifest;
      assert.deepEqual(manifests?.map(({ digest }) => digest).sort(), [kept, other].sort());
    });
  }

  it('what is attached to something that stays', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const { manifest } = await made.there.manifest(made.amd64);
    await made.there.putManifest({ ...manifest, mediaType: ociManifest }, tagOf(made.index, '.sig'));
    for (const how of ['--dry-run', '--force']) {
      const { code, err, of } = await cleaned(`${host}/acme/app:v1`, 'all', how);
      assert.equal(code, 10, err);
      assert.equal(of(made.amd64), 'kept');
      assert.equal(of(made.nestedSig), undefined);
    }
    assert.equal((await made.there.manifest(tagOf(made.amd64, '.sig'))).digest, made.nestedSig);
  });

  it('a manifest of the image that refers to another of its manifests', async (test) => {
    const { host, there, image } = await started(test);
    const bundle = await there.bundle(image, 'provenance', 'https://slsa.dev/provenance/v1');
    const nested = await there.index({ 'unknown/unknown': bundle });
    const index = await there.index({ 'linux/amd64': image, 'unknown/unknown': nested }, 'v2');
    for (const how of ['--dry-run', '--force']) {
      const { code, of } = await cleaned(`${host}/acme/app:v2`, 'all', '--recursive', how);
      assert.deepEqual([code, of(bundle)], [10, 'kept']);
    }
    assert.equal((await there.manifest('v2')).digest, index);
    await there.manifest(bundle);
  });

  it("BuildKit's attestation of an image, which the index above lists", async (test) => {
    const { host, there, image } = await started(test);
    const bundle = await there.bundle(image, 'made');
    const artifactType = 'application/vnd.docker.attestation.manifest.v1+json';
    const { manifest } = await there.manifest(bundle);
    const attestation = await there.putManifest({ ...manifest, artifactType } as Manifest);
    await there.putManifest({ schemaVersion: 2, mediaType: ociIndex, manifests: [] } as unknown as Manifest, 'v2');
    await there.index({ 'linux/amd64': image, 'unknown/unknown': attestation }, 'v2');
    const { code, of } = await cleaned(`${host}/acme/app@${image}`, 'referrer', '--force');
    assert.deepEqual([code, of(attestation), of(bundle)], [10, 'kept', 'removed']);
    await there.manifest(attestation);
  });

  it('an image that refers to the image, and what is attached to that one', async (test) => {
    const { host, there, image } = await started(test);
    const { manifest } = await there.manifest(image);
    const subject = { mediaType: ociManifest, digest: image, size: (await there.manifest(image)).size };
    const derived = await there.putManifest({ ...manifest, subject } as Manifest, 'derived');
    const signature = await there.signatures(derived, ['of the derived one']);
    const { code, outcomes } = await cleaned(`${host}/acme/app:v1`, 'referrer', '--force');
    assert.deepEqual([code, outcomes], [10, ['kept']]);
    assert.equal((await there.manifest('derived')).digest, derived);
    assert.equal((await there.manifest(tagOf(derived, '.sig'))).digest, signature);
  });

  it('says what was done before the registry failed', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const fails: Happening['before'] = (method, path) =>
      method === 'DELETE' && path.endsWith(made.provenance) ? 500 : undefined;
    const front = await inFrontOf(test, host, { before: fails });
    const { code, outcomes, error, err } = await cleaned(`${front}/acme/app:v1`, 'all', '--force');
    assert.equal(code, 7, err);
    assert.equal(error?.code, 'unavailable');
    assert.equal(outcomes.filter((outcome) => outcome === 'failed').length, 1);
    const at = outcomes.indexOf('failed');
    assert.ok(at > 0 && outcomes.slice(0, at).every((outcome) => outcome === 'removed'));
    assert.ok(outcomes.slice(at + 1).every((outcome) => outcome === 'not tried') && at + 1 < outcomes.length);
    await made.there.manifest(made.provenance);
  });

  it('says what was done before the deadline', async (test) => {
    const { there, image, through } = await started(test);
    const signature = await there.bundle(image, 'signature');
    await there.signatures(image, ['one']);
    const hangs: Happening['before'] = (method, path) =>
      method === 'DELETE' && path.endsWith('.sig') ? new Promise<undefined>(() => undefined) : undefined;
    const seen = await through({ before: hangs });
    const { code, error, of } = await cleaned(seen, 'signature', '--force', '--timeout', '3s');
    assert.deepEqual([code, error?.code, of(signature)], [7, 'deadline_exceeded', 'removed']);
    assert.ok((await there.tags()).includes(tagOf(image, '.sig')));
  });

  for (const status of [403, 404]) {
    it(`and does not say removed where every DELETE is answered ${status}`, async (test) => {
      const { there, image, through } = await started(test);
      const [sig, bundle] = [await there.signatures(image, ['one']), await there.bundle(image, 'two')];
      const happening: Happening = { before: (method) => (method === 'DELETE' ? status : undefined) };
      const done = await cleaned(await through(happening), 'signature', '--force');
      assert.deepEqual([done.code, done.outcomes], [10, ['refused', 'refused']]);
      assert.equal((await there.manifest(tagOf(image, '.sig'))).digest, sig);
      await there.manifest(bundle);
    });
  }
});

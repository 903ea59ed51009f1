// What cosign makes with its options and by its older ways, judged by our Verify; and each predicate type in both directions.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import {
  cosignAttest,
  cosignAttestBlob,
  cosignSign,
  cosignSignBlob,
  cosignVerify,
  generateKeyPair,
  type KeyPair,
} from './cosign.ts';
import { pushTestImage } from './image.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startDockerRegistry, startGgcrRegistry } from './registries.ts';

const needed = ['cosign-3.1.1', 'cosign-2.5.0', 'ggcr-registry', 'docker-registry', 'crane'] as const;
const versions = ['3.1.1', '2.5.0'] as const;
const predicateType = 'https://example.com/predicate/v1';
const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');

/** A small document of each type that cosign knows by a short name. */
const predicates: Readonly<Record<string, object>> = {
  slsaprovenance: { builder: { id: 'https://example.com/builder' }, buildType: 'https://example.com/build/v1' },
  slsaprovenance02: { builder: { id: 'https://example.com/builder' }, buildType: 'https://example.com/build/v1' },
  slsaprovenance1: {
    buildDefinition: { buildType: 'https://example.com/build/v1', externalParameters: { ref: 'main' } },
    runDetails: { builder: { id: 'https://example.com/builder' } },
  },
  link: {
    _type: 'link',
    name: 'build',
    command: ['make'],
    materials: {},
    products: {},
    byproducts: {},
    environment: {},
  },
  spdxjson: {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: 'app',
    documentNamespace: 'https://example.com/spdx/app',
    creationInfo: { created: '2026-01-01T00:00:00Z', creators: ['Tool: test'] },
  },
  cyclonedx: { bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 },
  vuln: {
    invocation: { parameters: null, uri: '', event_id: '', 'builder.id': '' },
    scanner: { uri: 'https://example.com/scanner', version: '1', db: { uri: '', version: '' }, result: { found: 0 } },
    metadata: { scanStartedOn: '2026-01-01T00:00:00Z', scanFinishedOn: '2026-01-01T00:01:00Z' },
  },
  openvex: {
    '@context': 'https://openvex.dev/ns/v0.2.0',
    '@id': 'https://example.com/vex/1',
    author: 'a test',
    timestamp: '2026-01-01T00:00:00Z',
    version: 1,
    statements: [{ vulnerability: { name: 'CVE-2026-0001' }, products: [{ '@id': 'pkg:oci/app' }], status: 'fixed' }],
  },
  custom: { by: 'a test' },
};

describe('cosign with its options, and our Verify', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('cosign-options');
  const path = (name: string): string => join(folder, name);
  let referrers: Registry;
  let tags: Registry;
  let pair: KeyPair;
  let stranger: KeyPair;
  let world: ServiceWorld;

  before(async () => {
    requirePeers(...needed);
    [referrers, tags, pair, stranger] = await Promise.all([
      startGgcrRegistry(),
      startDockerRegistry(),
      generateKeyPair(path('ours')),
      generateKeyPair(path('stranger')),
    ]);
    writeFileSync(path('blob'), 'a blob');
    writeFileSync(path('predicate'), '{"by":"a test"}');
    world = await startServiceWorld({
      plainHttpHosts: [referrers.host, tags.host],
      keys: [{ name: 'ours', kind: 'local', file: pair.privateKey, password: pair.password }],
    });
  });
  after(async () => {
    await world?.stop();
    await Promise.all([referrers?.stop(), tags?.stop()]);
  });

  const verify = (subject: object, more: object = {}, key: object = { key: 'ours' }): Promise<VerdictJson> =>
    world.ok<VerdictJson>('/v1/verify', { subject, keys: [key], ...more });
  /** One signature is there; it counts, and not for another key. */
  const judge = async (subject: object, more: object = {}): Promise<void> => {
    const verdict = await verify(subject, more);
    assert.equal(verdict.verified, true, verdict.summary);
    assert.equal(verdict.signatures.length, 1);
    const wrong = await verify(subject, more, { pem: readFileSync(stranger.publicKey, 'utf8') });
    assert.deepEqual([wrong.verified, wrong.signatures[0]?.reason], [false, 'WRONG_KEY']);
  };

  for (const version of versions) {
    for (const [where, registryOf] of [
      ['with the referrers API', () => referrers],
      ['without it', () => tags],
    ] as const) {
      it(`${version}, Docker media types, in a registry ${where}`, async () => {
        const image = await pushTestImage(registryOf(), `docker/${version}:v1`);
        const env = { COSIGN_DOCKER_MEDIA_TYPES: '1' };
        succeeded(await cosignSign({ version, key: pair.privateKey, legacy: true, ref: image.ref, env }));
        await judge({ image: image.ref });
        // The service adds to what cosign began, in the same media types.
        const request = { subject: { image: image.ref }, key: 'ours', formats: ['FORMAT_SIMPLE_SIGNING'] };
        await world.ok<Signed>('/v1/sign', { ...request, ifAbsent: false });
        const verdict = await verify({ image: image.ref });
        assert.equal(verdict.signatures.filter(({ counts }) => counts).length, 2);
        succeeded(await cosignVerify({ version, key: pair.publicKey, legacy: true, ref: image.ref }));
      });

      it(`${version}, signatures as referrers (oci-1-1), in a registry ${where}`, async () => {
        const image = await pushTestImage(registryOf(), `oci11/${version}:v1`);
        const flags = ['--registry-referrers-mode=oci-1-1'];
        const env = { COSIGN_EXPERIMENTAL: '1' };
        succeeded(await cosignSign({ version, key: pair.privateKey, legacy: true, ref: image.ref, flags, env }));
        await judge({ image: image.ref });
      });
    }

    it(`${version}, a blob with the older bundle: signature and attestation`, async () => {
      const file = path(`older-${version}`);
      const call = { version, key: pair.privateKey, legacy: true, blob: path('blob'), output: path('unused') };
      const subject = { blob: { name: 'blob', content: base64('a blob') } };
      const other = { blob: { name: 'blob', content: base64('another blob') } };
      const flags = ['--bundle', file];
      for (const [make, more] of [
        [() => cosignSignBlob({ ...call, flags }), {}],
        [
          () => cosignAttestBlob({ ...call, flags, type: predicateType, predicate: path('predicate') }),
          { predicateType },
        ],
      ] as const) {
        succeeded(await make());
        const bundle = readFileSync(file, 'utf8');
        assert.match(bundle, /"base64Signature":/);
        const brought = { ...more, signatures: [base64(bundle)] };
        await judge(subject, brought);
        assert.equal((await verify(other, brought)).verified, false);
        const opposite = { predicateType: 'predicateType' in more ? '' : predicateType };
        assert.equal((await verify(subject, { ...brought, ...opposite })).verified, false, 'as what it is not');
      }
    });
  }

  it('recursively: the index and each of its images', async () => {
    const index = await pushTestImage(referrers, 'recursive/index:v1', { platforms: ['linux/amd64', 'linux/arm64'] });
    succeeded(await cosignSign({ key: pair.privateKey, ref: index.ref, flags: ['--recursive'] }));
    for (const { ref } of [index, ...index.platforms]) await judge({ image: ref });
  });

  it('attested recursively, which cosign 3 does not: each counts there', async () => {
    const platforms = ['linux/amd64', 'linux/arm64'];
    const attestationType = 'https://example.com/recursive/v1';
    const ours = await pushTestImage(referrers, 'recursive/ours:v1', { platforms });
    const { nested } = await world.ok<Signed & { readonly nested: readonly Signed[] }>('/v1/attest', {
      subject: { image: ours.ref },
      key: 'ours',
      predicateType: attestationType,
      predicate: base64('{"a":1}'),
      recursive: true,
    });
    assert.deepEqual(
      nested.map(({ digest }) => digest),
      ours.platforms.map(({ digest }) => digest),
    );
    for (const { ref } of [ours, ...ours.platforms]) {
      succeeded(await cosignVerify({ key: pair.publicKey, ref, attestationType }));
    }
  });

  for (const [type, document] of Object.entries(predicates)) {
    it(`predicate type ${type}: cosign's counts here, and ours there`, async () => {
      const predicate = path(`${type}.json`);
      writeFileSync(predicate, JSON.stringify(document));
      for (const [at, legacy] of [false, true].entries()) {
        const theirs = await pushTestImage(referrers, `types/${type}-theirs-${at}:v1`);
        succeeded(await cosignAttest({ key: pair.privateKey, ref: theirs.ref, legacy, type, predicate }));
        await judge({ image: theirs.ref }, { predicateType: type });
        const other = type === 'link' ? 'vuln' : 'link';
        assert.equal((await verify({ image: theirs.ref }, { predicateType: other })).verified, false);

        const ours = await pushTestImage(referrers, `types/${type}-ours-${at}:v1`);
        await world.ok<Signed>('/v1/attest', {
          subject: { image: ours.ref },
          key: 'ours',
          formats: [legacy ? 'FORMAT_DSSE' : 'FORMAT_BUNDLE'],
          predicateType: type,
          predicate: base64(JSON.stringify(document)),
        });
        const call = { key: pair.publicKey, ref: ours.ref, legacy };
        succeeded(await cosignVerify({ ...call, attestationType: type }));
        assert.notEqual((await cosignVerify({ ...call, attestationType: other })).code, 0);
      }
    });
  }
});

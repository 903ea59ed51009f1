// Images in embedded registries, and everything that can hang on them.
import { hash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Manifest, repositoryClient } from '../../src/dev/registry/client.ts';
import { type DevRegistry, type DevRegistryOptions, startRegistry } from '../../src/dev/registry.ts';
import { openContext } from '../../src/model/context.ts';
import type { Digest } from '../../src/model/digest.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { openRegistries, type Registries } from '../../src/transfer/repository.ts';

export const ociManifest = 'application/vnd.oci.image.manifest.v1+json';
export const ociIndex = 'application/vnd.oci.image.index.v1+json';
export const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
export const simpleSigning = 'application/vnd.dev.cosign.simplesigning.v1+json';

export const registry = async (test: TestContext, options: DevRegistryOptions = {}): Promise<DevRegistry> => {
  const started = await startRegistry(options);
  test.after(() => started.close());
  return started;
};

export const registries = (test: TestContext): Registries => {
  const http = createHttpClient({ plainHttpHosts: ['127.0.0.1'] });
  test.after(() => http.close());
  return openRegistries({ http, credentials: () => undefined, plainHttpHosts: ['127.0.0.1'], tries: 1 });
};

export const context = (test: TestContext) => {
  const owned = openContext('test', 60_000);
  test.after(() => owned.dispose());
  return owned.context;
};

export const folder = async (test: TestContext): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'countersign-transfer-'));
  test.after(() => rm(made, { recursive: true, force: true }));
  return made;
};

const bytesOf = (content: unknown): Buffer =>
  Buffer.from(typeof content === 'string' ? content : JSON.stringify(content));

export const digestOf = (content: Uint8Array): Digest => `sha256:${hash('sha256', content, 'hex')}`;

/** Pushes things into one repository. */
export const repository = (host: string, name: string) => {
  const client = repositoryClient(host, name);
  const blob = async (mediaType: string, content: unknown) => {
    const bytes = bytesOf(content);
    return { mediaType, digest: await client.putBlob(bytes), size: bytes.byteLength };
  };
  const layerOf = async (mediaType: string, content: unknown, annotations?: Readonly<Record<string, string>>) => ({
    ...(await blob(mediaType, content)),
    ...(annotations === undefined ? {} : { annotations }),
  });
  const subjectOf = async (digest: string) => {
    const { size, manifest } = await client.manifest(digest);
    return { mediaType: manifest.mediaType, digest: digest as Digest, size };
  };
  return {
    ...client,
    blob,
    image: async (content: string, tag?: string): Promise<Digest> => {
      const config = await blob('application/vnd.oci.image.config.v1+json', { os: 'linux', content });
      const layers = [await blob('application/vnd.oci.image.layer.v1.tar', content)];
      return client.putManifest({ schemaVersion: 2, mediaType: ociManifest, config, layers } as Manifest, tag);
    },
    index: async (platforms: Readonly<Record<string, Digest>>, tag?: string): Promise<Digest> => {
      const manifests = [];
      for (const [platform, digest] of Object.entries(platforms)) {
        const [os = '', architecture = ''] = platform.split('/');
        manifests.push({ ...(await subjectOf(digest)), platform: { os, architecture } });
      }
      return client.putManifest({ schemaVersion: 2, mediaType: ociIndex, manifests } as Manifest, tag);
    },
    /** One layer a signature, as cosign 2 keeps them. */
    signatures: async (subject: Digest, contents: readonly string[], suffix = 'sig'): Promise<Digest> => {
      const layers = [];
      for (const content of contents) {
        layers.push(await layerOf(simpleSigning, content, { 'dev.cosignproject.cosign/signature': `of ${content}` }));
      }
      const config = await blob('application/vnd.oci.image.config.v1+json', { contents });
      const manifest = { schemaVersion: 2, mediaType: ociManifest, config, layers } as Manifest;
      return client.putManifest(manifest, `${subject.replace(':', '-')}.${suffix}`);
    },
    /** A bundle, as cosign 3 keeps it; `predicateType` undefined: a signature. */
    bundle: async (
      subject: Digest,
      content: string,
      predicateType = 'https://sigstore.dev/cosign/sign/v1',
    ): Promise<Digest> => {
      const payload = Buffer.from(JSON.stringify({ predicateType, content })).toString('base64');
      const config = { ...(await blob('application/vnd.oci.empty.v1+json', '{}')), artifactType: bundleType };
      const layers = [await blob(bundleType, { dsseEnvelope: { payload } })];
      const annotations = {
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': predicateType,
      };
      const manifest = {
        schemaVersion: 2,
        mediaType: ociManifest,
        artifactType: bundleType,
        config,
        layers,
        annotations,
      };
      return client.putManifest({ ...manifest, subject: await subjectOf(subject) } as Manifest);
    },
    /** The fallback tag of a registry without the referrers API. */
    fallback: async (subject: Digest, referrers: readonly Digest[]): Promise<void> => {
      const manifests = [];
      for (const digest of referrers) manifests.push({ ...(await subjectOf(digest)), artifactType: bundleType });
      const index = { schemaVersion: 2, mediaType: ociIndex, manifests } as Manifest;
      await client.putManifest(index, subject.replace(':', '-'));
    },
  };
};

/** An index of two images with something of every kind attached, to itself and below: what must arrive. */
export const pushEverything = async (host: string, name: string, referrers: boolean) => {
  const there = repository(host, name);
  const amd64 = await there.image('amd64');
  const arm64 = await there.image('arm64');
  const index = await there.index({ 'linux/amd64': amd64, 'linux/arm64': arm64 }, 'v1');
  const sig = await there.signatures(index, ['one', 'two']);
  const att = await there.signatures(index, ['attested'], 'att');
  const sbom = await there.signatures(index, ['bill'], 'sbom');
  const nestedSig = await there.signatures(amd64, ['nested']);
  const bundle = await there.bundle(index, 'bundle');
  const provenance = await there.bundle(index, 'provenance', 'https://slsa.dev/provenance/v1');
  const nestedBundle = await there.bundle(arm64, 'nested bundle');
  const onBundle = await there.bundle(provenance, 'about the provenance');
  if (!referrers) {
    await there.fallback(index, [bundle, provenance]);
    await there.fallback(arm64, [nestedBundle]);
    await there.fallback(provenance, [onBundle]);
  }
  return { there, index, amd64, arm64, sig, att, sbom, nestedSig, bundle, provenance, nestedBundle, onBundle };
};

export type Everything = Awaited<ReturnType<typeof pushEverything>>;

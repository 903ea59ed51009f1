// OCI layouts on disk: written by save, read by load, or made by hand.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { Digest } from '../../src/model/digest.ts';
import { copy } from '../../src/transfer/copy.ts';
import { gather } from '../../src/transfer/gather.ts';
import { openLayoutSink } from '../../src/transfer/layout-sink.ts';
import { openLayout } from '../../src/transfer/layout-source.ts';
import { repositorySource } from '../../src/transfer/repository.ts';
import { repositorySink } from '../../src/transfer/repository-sink.ts';
import { context, digestOf, folder, ociIndex, ociManifest, pushEverything, registries, registry } from './world.ts';

export type Index = {
  readonly schemaVersion: number;
  readonly manifests: readonly {
    readonly mediaType: string;
    readonly digest: Digest;
    readonly size: number;
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
};

export const save = async (test: TestContext, host: string, digest: Digest, dir: string, force = false) => {
  const source = repositorySource(registries(test), { registry: host, repository: 'acme/app' });
  const graph = await gather({ source, digest }, { attachedIn: [source] }, context(test));
  const sink = await openLayoutSink(dir, digest, force);
  const report = await copy(graph, { image: sink, attached: sink, tag: 'v1', force: true }, context(test));
  await sink.finish();
  return report;
};

export const load = async (test: TestContext, dir: string, host: string, wanted?: string) => {
  const { source, image } = await openLayout(dir, wanted);
  const graph = await gather({ source, digest: image }, { attachedIn: [source] }, context(test));
  const sink = repositorySink(registries(test), { registry: host, repository: 'loaded/app' }, 50);
  return copy(graph, { image: sink, attached: sink, tag: 'v1', force: false }, context(test));
};

export const saved = async (test: TestContext) => {
  const source = await registry(test);
  const made = await pushEverything(source.host, 'acme/app', true);
  const dir = join(await folder(test), 'layout');
  const report = await save(test, source.host, made.index, dir);
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')) as Index;
  const blobAt = (digest: string): string => join(dir, 'blobs', 'sha256', digest.slice(7));
  return { source, made, dir, report, index, blobAt };
};

/** A layout of exactly these blobs, listed as given. */
export const layoutOf = async (
  test: TestContext,
  blobs: readonly string[],
  manifests: readonly unknown[],
): Promise<string> => {
  const dir = await folder(test);
  await mkdir(join(dir, 'blobs', 'sha256'), { recursive: true });
  for (const blob of blobs) await writeFile(join(dir, 'blobs', 'sha256', digestOf(Buffer.from(blob)).slice(7)), blob);
  await writeFile(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(dir, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests }));
  return dir;
};

export const entryOf = (blob: string, mediaType = ociManifest) => ({
  mediaType,
  digest: digestOf(Buffer.from(blob)),
  size: Buffer.byteLength(blob),
});

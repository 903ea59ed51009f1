import type { Context } from '../model/context.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Descriptor, ResolvedImage } from '../model/subject.ts';
import { malformed, unusable } from './errors.ts';
import { type ManifestDescriptor, parseIndex } from './manifest.ts';
import type { Manifests } from './manifests.ts';
import { dockerIndex, manifestTypes, ociIndex } from './media-types.ts';
import type { Target } from './target.ts';

/** A manifest that an index lists. */
export type Nested = {
  readonly descriptor: Descriptor;
  /** `os/arch[/variant]`; undefined where the index does not say. */
  readonly platform: string | undefined;
};

const maxDepth = 4;
const maxManifests = 1_000;
const isIndex = (mediaType: string): boolean => mediaType === ociIndex || mediaType === dockerIndex;

/** As `Registry.nested` of the port (OCI image-spec "Image Index"). Entries that are no manifests are left out. */
export const createNested =
  (manifests: Manifests) =>
  async (image: ResolvedImage, context: Context): Promise<readonly Nested[]> => {
    const seen = new Set<Digest>([image.descriptor.digest]);
    const all: Nested[] = [];

    const below = async (digest: Digest, depth: number): Promise<void> => {
      if (depth > maxDepth) throw tooLarge(image, `goes deeper than ${maxDepth} levels`);
      const stored = await manifests.get(image, digest, context);
      if (stored === undefined) throw absent(image, digest);
      for (const entry of parseIndex(stored, image).manifests ?? []) {
        const nested = nestedOf(entry, image);
        if (nested === undefined || seen.has(nested.descriptor.digest)) continue;
        seen.add(nested.descriptor.digest);
        all.push(nested);
        if (all.length > maxManifests) throw tooLarge(image, `lists more than ${maxManifests} manifests`);
        if (isIndex(nested.descriptor.mediaType)) await below(nested.descriptor.digest, depth + 1);
      }
    };

    const { digest, mediaType } = image.descriptor;
    // Read in any case: what a tag leads to is known by the registry's word alone, and an index taken for an image has nothing below it.
    const stored = await manifests.get(image, digest, context);
    if (stored === undefined) throw absent(image, digest);
    if (stored.mediaType !== mediaType) throw malformed(image, `${digest} is ${stored.mediaType}, not ${mediaType}`);
    if (isIndex(mediaType)) await below(digest, 1);
    return all;
  };

const nestedOf = (entry: ManifestDescriptor, target: Target): Nested | undefined => {
  const { mediaType, digest, size } = entry;
  if (!manifestTypes.includes(mediaType)) return undefined;
  if (!isDigest(digest)) throw malformed(target, 'the index lists a manifest whose digest is not SHA-256');
  return { descriptor: { mediaType, digest, size }, platform: platformOf(entry['platform']) };
};

const part = /^[A-Za-z0-9._-]{1,32}$/;

export const platformOf = (platform: unknown): string | undefined => {
  if (typeof platform !== 'object' || platform === null) return undefined;
  const { os, architecture, variant } = platform as Readonly<Record<string, unknown>>;
  const parts = [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])];
  return parts.every((each) => typeof each === 'string' && part.test(each)) ? parts.join('/') : undefined;
};

const tooLarge = (target: Target, what: string): CountersignError =>
  unusable(target, 'INDEX_TOO_LARGE', `the index ${what}; sign its manifests one by one`);

const absent = ({ registry, repository }: Target, digest: Digest): CountersignError =>
  new CountersignError('not_found', 'MANIFEST_NOT_FOUND', `The index lists ${digest}, which is not in the registry.`, {
    metadata: { registry, repository, digest },
  });

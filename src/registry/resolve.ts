import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Descriptor, ImageReference, ResolvedImage } from '../model/subject.ts';
import { createCache } from './cache.ts';
import type { Manifests } from './manifests.ts';
import { formatReference } from './reference.ts';

/** Resolves a reference to a digest; as `Registry.resolve` of the port. */
export type Resolve = (reference: ImageReference, context: Context) => Promise<ResolvedImage>;

/**
 * What a digest is never changes, so it is read once, and its media type and size are those of its content. A tag is asked every
 * time; of a digest that was not read yet it is believed, for this one request, what the registry says it is. Without tag and
 * digest: `latest`.
 */
export const createResolve = (manifests: Manifests): Resolve => {
  const known = createCache<Descriptor>(10_000);
  const key = ({ registry, repository }: ImageReference, digest: Digest): string =>
    `${registry}/${repository}@${digest}`;

  const read = async (reference: ImageReference, digest: Digest, context: Context): Promise<Descriptor | undefined> => {
    const cached = known.get(key(reference, digest));
    if (cached !== undefined) return cached;
    const stored = await manifests.get(reference, digest, context);
    if (stored === undefined) return undefined;
    const descriptor = { mediaType: stored.mediaType, digest, size: stored.body.byteLength };
    known.set(key(reference, digest), descriptor);
    return descriptor;
  };

  const ask = async (reference: ImageReference, context: Context): Promise<Descriptor | undefined> => {
    const told = await manifests.describe(reference, reference.tag ?? 'latest', context);
    return told && (known.get(key(reference, told.digest)) ?? told);
  };

  return async (reference, context) => {
    const { registry, repository, digest } = reference;
    const descriptor = await (digest === undefined ? ask(reference, context) : read(reference, digest, context));
    if (descriptor === undefined) {
      throw new CountersignError('not_found', 'IMAGE_NOT_FOUND', `There is no image ${formatReference(reference)}.`, {
        metadata: { registry, repository },
      });
    }
    return { registry, repository, descriptor };
  };
};

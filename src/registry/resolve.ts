import type { Context } from '../model/context.ts';
import { CountersignError } from '../model/error.ts';
import type { Descriptor, ImageReference, ResolvedImage } from '../model/subject.ts';
import { createCache } from './cache.ts';
import { dataLoss } from './errors.ts';
import type { Manifests } from './manifests.ts';
import { formatReference } from './reference.ts';

/** Resolves a reference to a digest; as `Registry.resolve` of the port. */
export type Resolve = (reference: ImageReference, context: Context) => Promise<ResolvedImage>;

/** What a digest is never changes, so it is asked once; a tag is asked every time. Without tag and digest: `latest`. */
export const createResolve = (manifests: Manifests): Resolve => {
  const known = createCache<Descriptor>(10_000);
  const key = (reference: ImageReference, digest: string): string =>
    `${reference.registry}/${reference.repository}@${digest}`;

  return async (reference, context) => {
    const { registry, repository, digest } = reference;
    const cached = digest === undefined ? undefined : known.get(key(reference, digest));
    if (cached !== undefined) return { registry, repository, descriptor: cached };
    const descriptor = await manifests.describe(reference, digest ?? reference.tag ?? 'latest', context);
    if (descriptor === undefined) {
      throw new CountersignError('not_found', 'IMAGE_NOT_FOUND', `There is no image ${formatReference(reference)}.`, {
        metadata: { registry, repository },
      });
    }
    if (digest !== undefined && descriptor.digest !== digest) {
      throw dataLoss(reference, `what came for ${digest} is something else`);
    }
    known.set(key(reference, descriptor.digest), descriptor);
    return { registry, repository, descriptor };
  };
};

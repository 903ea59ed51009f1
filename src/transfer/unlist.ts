import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { pause } from '../net/retry.ts';
import { fallbackTag } from '../registry/destination.ts';
import { encodeJson, parseIndex } from '../registry/manifest.ts';
import { ociIndex } from '../registry/media-types.ts';
import { mapParallel } from '../registry/places.ts';
import { tagContended } from '../registry/errors.ts';
import type { Target } from '../registry/target.ts';
import type { Registries } from './repository.ts';
import { removalAnnotation } from './untag.ts';

const maxWrites = 10;
const refusesContent = ['REGISTRY_NOT_FOUND', 'REGISTRY_REFUSED'];
const pauseMs = 50;

export type Unlisting = { readonly target: Target; readonly subject: Digest; readonly gone: ReadonlySet<string> };

/**
 * Takes entries out of the index at the fallback tag; answers with those that were in it. All others stay, those as well that are added at
 * the same time: written on condition where the registry honours that; elsewhere right after it was read, and read again after
 * `settleMs`, in which another writer may have put the entries back. An index that is empty then goes as well, by its own digest, so that
 * nobody's who has written since. A registry may refuse an index of what it has not: then entries that lead nowhere go as well. Throws `unavailable`, reason `TAG_CONTENDED`.
 */
export const unlist = async (
  { manifests, conditional }: Registries,
  { target, subject, gone }: Unlisting,
  settleMs: number,
  context: Context,
): Promise<ReadonlySet<string>> => {
  const tag = fallbackTag(subject);
  const taken = new Set<string>();
  const dead = new Set<string>();
  for (let writes = 0; ; ) {
    const current = await manifests.get(target, tag, context);
    if (current?.mediaType !== ociIndex) return taken;
    const index = parseIndex(current, target);
    const entries = index.manifests ?? [];
    const left = entries.filter(({ digest }) => !gone.has(digest) && !dead.has(digest));
    if (!entries.some(({ digest }) => gone.has(digest))) {
      if (left.length === 0 && index.annotations?.[removalAnnotation] === tag) {
        await manifests.remove(target, current.digest, context);
      }
      return taken;
    }
    if (writes++ === maxWrites) throw tagContended(target, tag, maxWrites);
    // Equal bytes would be deleted with it at every tag that they lie at.
    const apart = left.length === 0 ? { annotations: { ...index.annotations, [removalAnnotation]: tag } } : {};
    const body = encodeJson({ ...index, manifests: left, ...apart });
    const put = conditional.put(target, tag, { mediaType: ociIndex, body }, current, context);
    const outcome = await put.catch(async (error: unknown) => {
      if (!(error instanceof CountersignError) || !refusesContent.includes(error.reason)) throw error;
      const absent = await mapParallel(left, async ({ digest }) =>
        (await manifests.describe(target, digest, context)) === undefined ? [digest] : [],
      );
      if (absent.flat().length === 0) throw error;
      for (const digest of absent.flat()) dead.add(digest);
      return undefined;
    });
    if (outcome === undefined) continue;
    if (outcome === 'changed') await pause(pauseMs * writes * (0.5 + Math.random()), context);
    else for (const { digest } of entries) if (gone.has(digest)) taken.add(digest);
    if (outcome === 'unguarded') await pause(settleMs, context);
  }
};

import type { Context } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { encodeJson, parseJsonObject, type StoredManifest } from '../registry/manifest.ts';
import type { Target } from '../registry/target.ts';
import type { Registries } from './repository.ts';

/**
 * Removes a tag that leads to this manifest, and no other tag, as others may lead to it too; `changed`: it leads to something else by now, and
 * stays. Where the registry deletes by digest alone (distribution 2.8) the tag is moved to a copy of the manifest that nothing else leads to,
 * and that is deleted: whoever adds to the tag meanwhile keeps it. The manifest itself is left to the registry's garbage collection.
 */
export const untag = async (
  registries: Registries,
  target: Target,
  tag: string,
  digest: Digest,
  context: Context,
): Promise<'removed' | 'absent' | 'changed' | 'refused'> => {
  const { manifests } = registries;
  const there = await manifests.get(target, tag, context);
  if (there === undefined) return 'absent';
  if (there.digest !== digest) return 'changed';
  if ((await manifests.remove(target, tag, context)) === 'removed') return 'removed';
  return byCopy(registries, target, tag, there, context).catch(refusedOnly);
};

const refusals = ['REGISTRY_ACCESS_DENIED', 'REGISTRY_REFUSED', 'TAG_IMMUTABLE'];

/** A registry that refuses to be written to refuses this, too. */
export const refusedOnly = (error: unknown): 'refused' => {
  if (error instanceof CountersignError && refusals.includes(error.reason)) return 'refused';
  throw error;
};

const byCopy = async (
  { manifests, conditional }: Registries,
  target: Target,
  tag: string,
  original: StoredManifest,
  context: Context,
): Promise<'removed' | 'absent' | 'changed' | 'refused'> => {
  const copy = copyOf(original, tag);
  // Does it delete by digest? Asked of what is not there, before the tag is touched.
  if ((await manifests.remove(target, copy.digest, context)) === 'refused') return 'refused';
  const current = await manifests.get(target, tag, context);
  if (current === undefined) return 'absent';
  if (current.digest !== original.digest && current.digest !== copy.digest) return 'changed';
  if ((await conditional.put(target, tag, copy, current, context)) === 'changed') return 'changed';
  await manifests.remove(target, copy.digest, context);
  const left = await manifests.get(target, tag, context);
  if (left === undefined) return 'removed';
  if (left.digest !== copy.digest) return 'changed';
  // It leaves the tags of what it deletes: as it was, then.
  return (await conditional.put(target, tag, original, left, context)) === 'changed' ? 'changed' : 'refused';
};

/** The same content under a digest of its own, equal each time. */
const copyOf = ({ body, mediaType, digest }: StoredManifest, tag: string): StoredManifest => {
  const manifest = parseJsonObject(body) ?? {};
  const annotations = {
    ...(manifest['annotations'] as object | null | undefined),
    [removalAnnotation]: `${tag} ${digest}`,
  };
  const copy = encodeJson({ ...manifest, annotations });
  return { mediaType, body: copy, digest: sha256(copy), etag: undefined };
};

/** Sets a manifest apart that is about to be deleted by digest. */
export const removalAnnotation = 'dev.countersign.removal';

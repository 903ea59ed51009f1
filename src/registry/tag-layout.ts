import type { ManifestDescriptor, StoredManifest } from './manifest.ts';
import type { Target } from './target.ts';

/** What a tag holds next: the manifest, and the blobs that it needs besides those of its entries. */
export type NextManifest = {
  readonly mediaType: string;
  readonly body: Uint8Array;
  readonly blobs: readonly Uint8Array[];
};

/** How entries are kept in the manifest at a tag: a list of descriptors. Pure. */
export type TagLayout = {
  /** The entries (undefined: nothing lies at the tag). Throws when the manifest is of another kind. */
  list(current: StoredManifest | undefined, target: Target): readonly ManifestDescriptor[];
  /** Is an entry that is there the wanted one? Never with another digest. */
  same(there: ManifestDescriptor, wanted: ManifestDescriptor): boolean;
  /** `current` with these entries instead of its own. Throws when they are too many. */
  build(current: StoredManifest | undefined, entries: readonly ManifestDescriptor[], target: Target): NextManifest;
};

/** Tells whether an entry is among these, and takes more of them. By digest first: a thousand are compared with a thousand. */
export const entrySet = (layout: TagLayout, entries: readonly ManifestDescriptor[]) => {
  const byDigest = new Map<string, ManifestDescriptor[]>();
  const has = (wanted: ManifestDescriptor): boolean =>
    byDigest.get(wanted.digest)?.some((there) => layout.same(there, wanted)) ?? false;
  const add = (entry: ManifestDescriptor): void => {
    const there = byDigest.get(entry.digest);
    if (there === undefined) byDigest.set(entry.digest, [entry]);
    else there.push(entry);
  };
  entries.forEach(add);
  return { has, add };
};

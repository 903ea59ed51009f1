import type { Content } from './blobs.ts';
import { createEntryIndex, type Entries } from './growing-list.ts';
import type { ManifestDescriptor, NewManifest, StoredManifest } from './manifest.ts';
import type { Target } from './target.ts';

/** What a tag holds next: the manifest, and the blobs that it needs besides those of its entries. */
export type NextManifest = NewManifest & {
  readonly entries: Entries;
  readonly blobs: readonly Content[];
};

/** How entries are kept in the manifest at a tag: a list of descriptors. Pure. */
export type TagLayout = {
  /**
   * The entries (undefined: nothing lies at the tag), the same list each time for the same `json`, that of `build` included.
   * Throws when the manifest is of another kind.
   */
  list(current: StoredManifest | undefined, target: Target): Entries;
  /** Is an entry that is there the wanted one? Never with another digest. */
  same(there: ManifestDescriptor, wanted: ManifestDescriptor): boolean;
  /** `current` with these entries besides its own. Throws when they are too many. */
  build(current: StoredManifest | undefined, added: Entries, target: Target): NextManifest;
};

const byDigest = createEntryIndex(({ digest }) => [digest]);

/** Is it among these? By digest first: a thousand are compared with a thousand. */
export const isAmong = (layout: TagLayout, entries: Entries, wanted: ManifestDescriptor): boolean =>
  byDigest(entries, wanted.digest).some(({ entry }) => layout.same(entry, wanted));

/** Each entry once, in order. */
export const unique = (layout: TagLayout, entries: Entries): Entries => {
  const kept = new Map<string, ManifestDescriptor[]>();
  return entries.filter((entry) => {
    const alike = kept.get(entry.digest) ?? [];
    if (alike.some((one) => layout.same(one, entry))) return false;
    kept.set(entry.digest, [...alike, entry]);
    return true;
  });
};

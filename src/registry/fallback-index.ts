import { unusable } from './errors.ts';
import { encodeJson, parseIndex } from './manifest.ts';
import { ociIndex } from './media-types.ts';
import { maxReferrers } from './referrers.ts';
import type { TagLayout } from './tag-layout.ts';

/** distribution-spec "Referrers Tag Schema": an index at `sha256-<hex>`, sorted by digest as go-containerregistry does. */
export const fallbackIndex: TagLayout = {
  list: (current, target) => {
    if (current === undefined) return [];
    if (current.mediaType !== ociIndex) {
      throw unusable(
        target,
        'TAG_TAKEN',
        `the referrers tag holds ${current.mediaType}, which is no index; remove it first`,
      );
    }
    return parseIndex(current, target).manifests ?? [];
  },
  same: (there, wanted) => there.digest === wanted.digest,
  build: (current, entries, target) => {
    if (entries.length > maxReferrers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `${maxReferrers} manifests refer to the image already; remove some first`,
      );
    }
    const index = current === undefined ? { schemaVersion: 2, mediaType: ociIndex } : parseIndex(current, target);
    const manifests = entries.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    return { mediaType: ociIndex, body: encodeJson({ ...index, manifests }), blobs: [] };
  },
};

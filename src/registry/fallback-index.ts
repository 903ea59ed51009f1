import { sha256 } from '../model/digest.ts';
import { unusable } from './errors.ts';
import { encodeJson, type IndexManifest, madeIndex, parseIndex } from './manifest.ts';
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
  build: (current, added, target) => {
    const index = current && parseIndex(current, target);
    const entries = [...(index?.manifests ?? []), ...added];
    if (entries.length > maxReferrers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `${maxReferrers} manifests refer to the image already; remove some first`,
      );
    }
    const manifests = entries.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    const next: IndexManifest = { ...(index ?? { schemaVersion: 2, mediaType: ociIndex }), manifests };
    const body = encodeJson(next);
    return {
      mediaType: ociIndex,
      pieces: [body],
      digest: sha256(body),
      json: madeIndex(next),
      entries: manifests,
      blobs: [],
    };
  },
};

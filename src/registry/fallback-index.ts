import type { Digest } from '../model/digest.ts';
import { unusable } from './errors.ts';
import {
  encodeJson,
  type IndexManifest,
  type ManifestDescriptor,
  parseIndex,
  type StoredManifest,
} from './manifest.ts';
import { ociIndex, ociManifest } from './media-types.ts';
import { maxReferrers } from './referrers.ts';
import type { TagLayout } from './tag-update.ts';
import type { Target } from './target.ts';

/** A manifest that refers to the image, as the fallback index lists it. */
export type Referrer = {
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType: string;
  readonly annotations: Readonly<Record<string, string>>;
};

/** distribution-spec "Referrers Tag Schema": an index at `sha256-<hex>`, sorted by digest as go-containerregistry does. */
export const fallbackIndex: TagLayout<Referrer> = {
  missing: (current, entries, target) => {
    const listed = new Set(read(current, target).manifests?.map((entry) => entry.digest));
    return entries.filter((entry, index) => {
      const repeated = entries.findIndex((other) => other.digest === entry.digest) < index;
      return !repeated && !listed.has(entry.digest);
    });
  },
  add: (current, entries, target) => {
    const index = read(current, target);
    const added = entries.map(({ digest, size, artifactType, annotations }) => ({
      mediaType: ociManifest,
      size,
      digest,
      artifactType,
      annotations: { ...annotations },
    }));
    const manifests: ManifestDescriptor[] = [...(index.manifests ?? []), ...added];
    if (manifests.length > maxReferrers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `${maxReferrers} manifests refer to the image already; remove some first`,
      );
    }
    manifests.sort((a, b) => (a.digest < b.digest ? -1 : 1));
    return { mediaType: ociIndex, body: encodeJson({ ...index, manifests }), blobs: [] };
  },
};

const read = (current: StoredManifest | undefined, target: Target): IndexManifest => {
  if (current === undefined) return { schemaVersion: 2, mediaType: ociIndex, manifests: [] };
  if (current.mediaType !== ociIndex) {
    throw unusable(
      target,
      'TAG_TAKEN',
      `the referrers tag holds ${current.mediaType}, which is no index; remove it first`,
    );
  }
  return parseIndex(current, target);
};

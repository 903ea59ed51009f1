import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { BlobDescriptor } from '../registry/blob-stream.ts';
import {
  type ImageManifest,
  type IndexManifest,
  type ManifestDescriptor,
  parseImageManifest,
  parseIndex,
  type StoredManifest,
} from '../registry/manifest.ts';
import { dockerIndex, ociIndex } from '../registry/media-types.ts';
import type { Target } from '../registry/target.ts';

/** A place that content is read from: a repository, or an OCI layout. What it gives is checked against its digest. Safe to call concurrently. */
export interface Source {
  /** What it is called in reports: `host/path`, or the folder. */
  readonly name: string;
  /** The repository, where it is one: blobs may be mounted out of it. */
  readonly target: Target | undefined;
  manifest(digest: Digest, context: Context): Promise<StoredManifest | undefined>;
  tagged(tag: string, context: Context): Promise<StoredManifest | undefined>;
  /** What is listed as referring to a manifest, at most 1,000 entries; a listing proves nothing. */
  referrers(digest: Digest, context: Context): Promise<readonly ManifestDescriptor[]>;
  /** Rejects with `not_found`, or `data_loss` before the last piece when the bytes are not what the descriptor says. */
  blob(blob: BlobDescriptor, context: Context): AsyncIterable<Uint8Array>;
}

export type Suffix = 'sig' | 'att' | 'sbom';
export const suffixes: readonly Suffix[] = ['sig', 'att', 'sbom'];

/** The manifests of images and indexes, told apart. Throws `failed_precondition`, reason `LAYOUT_INVALID`, or `unavailable`, reason `REGISTRY_RESPONSE_INVALID`. */
export const parseManifest = (
  stored: StoredManifest,
  from: Source,
): { readonly index: IndexManifest } | { readonly image: ImageManifest } => {
  const target = from.target ?? { registry: 'layout', repository: from.name };
  try {
    return isIndex(stored.mediaType)
      ? { index: parseIndex(stored, target) }
      : { image: parseImageManifest(stored, target) };
  } catch (error) {
    if (from.target !== undefined || !(error instanceof CountersignError)) throw error;
    throw new CountersignError('failed_precondition', 'LAYOUT_INVALID', error.message, { cause: error });
  }
};

export const isIndex = (mediaType: string): boolean => mediaType === ociIndex || mediaType === dockerIndex;

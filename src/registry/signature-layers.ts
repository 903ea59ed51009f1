import { type Digest, sha256 } from '../model/digest.ts';
import { unusable } from './errors.ts';
import { encodeJson, type ManifestDescriptor, parseImageManifest, type StoredManifest } from './manifest.ts';
import { dockerManifest, ociConfig, ociManifest } from './media-types.ts';
import type { TagLayout } from './tag-update.ts';
import type { Target } from './target.ts';

/** One signature as a layer of the image at `sha256-<hex>.sig` or `.att`. */
export type SignatureLayer = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly annotations: Readonly<Record<string, string>>;
};

/** Most signatures that one tag may hold; cosign reads no more either. */
export const maxLayers = 1_000;

/** cosign's legacy layout (cosign specs/SIGNATURE_SPEC.md "Storage"): an image with one layer a signature. */
export const signatureLayers: TagLayout<SignatureLayer> = {
  missing: (current, entries, target) => {
    const layers = layersOf(current, target);
    return unique(entries).filter((entry) => !layers.some((layer) => same(layer, entry)));
  },
  add: (current, entries, target) => {
    const added = entries.map(({ mediaType, size, digest, annotations }) => ({ mediaType, size, digest, annotations }));
    const layers: readonly ManifestDescriptor[] = [...layersOf(current, target), ...added];
    if (layers.length > maxLayers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `the image carries ${maxLayers} signatures already; remove some first`,
      );
    }
    const existing = current && parseImageManifest(current, target);
    const config = imageConfig(layers);
    return {
      mediaType: current?.mediaType ?? ociManifest,
      body: encodeJson({
        schemaVersion: 2,
        mediaType: current?.mediaType ?? ociManifest,
        ...existing,
        config: { mediaType: existing?.config.mediaType ?? ociConfig, size: config.byteLength, digest: sha256(config) },
        layers,
      }),
      blobs: [config],
    };
  },
};

/**
 * The config that cosign writes through go-containerregistry: an image config of zero values with one `diff_id` and one
 * history entry a layer. The layers are not compressed, so their diff ids are their digests.
 */
const imageConfig = (layers: readonly ManifestDescriptor[]): Uint8Array => {
  const created = '0001-01-01T00:00:00Z';
  return encodeJson({
    architecture: '',
    created,
    history: layers.map(() => ({ created })),
    os: '',
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    config: {},
  });
};

const layersOf = (current: StoredManifest | undefined, target: Target): readonly ManifestDescriptor[] => {
  if (current === undefined) return [];
  if (current.mediaType !== ociManifest && current.mediaType !== dockerManifest) {
    throw unusable(
      target,
      'TAG_TAKEN',
      `the signature tag holds ${current.mediaType}, which is no image; remove it first`,
    );
  }
  return parseImageManifest(current, target).layers ?? [];
};

/** The same content twice is one signature only when its annotations, where cosign keeps the signature itself, agree. */
const same = (layer: Pick<ManifestDescriptor, 'digest' | 'annotations'>, entry: SignatureLayer): boolean =>
  layer.digest === entry.digest &&
  Object.entries(entry.annotations).every(([name, value]) => layer.annotations?.[name] === value);

const unique = (entries: readonly SignatureLayer[]): readonly SignatureLayer[] =>
  entries.filter((entry, index) => !entries.slice(0, index).some((earlier) => same(earlier, entry)));

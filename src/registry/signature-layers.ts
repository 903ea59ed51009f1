import { sha256 } from '../model/digest.ts';
import { unusable } from './errors.ts';
import { encodeJson, type ManifestDescriptor, parseImageManifest } from './manifest.ts';
import { dockerConfig, dockerManifest, ociConfig, ociManifest } from './media-types.ts';
import type { TagLayout } from './tag-layout.ts';

/** Most signatures that one tag may hold; cosign reads no more either. */
export const maxLayers = 1_000;

/**
 * cosign's legacy layout (cosign specs/SIGNATURE_SPEC.md "Storage"): an image with one layer a signature, at
 * `sha256-<hex>.sig` or `.att`. An image that is there keeps its media types.
 */
export const signatureLayers = (newTypes: { readonly docker: boolean }): TagLayout => ({
  list: (current, target) => {
    if (current === undefined) return [];
    if (current.mediaType !== ociManifest && current.mediaType !== dockerManifest) {
      throw unusable(
        target,
        'TAG_TAKEN',
        `the signature tag holds ${current.mediaType}, which is no image; remove it first`,
      );
    }
    return parseImageManifest(current, target).layers ?? [];
  },
  // The same content twice is one signature only when its annotations, where cosign keeps the signature itself, agree.
  same: (there, wanted) =>
    there.digest === wanted.digest &&
    Object.entries(wanted.annotations ?? {}).every(([name, value]) => there.annotations?.[name] === value),
  build: (current, layers, target) => {
    if (layers.length > maxLayers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `the image carries ${maxLayers} signatures already; remove some first`,
      );
    }
    const existing = current && parseImageManifest(current, target);
    const config = imageConfig(layers);
    const mediaType = current?.mediaType ?? (newTypes.docker ? dockerManifest : ociManifest);
    const configType = existing?.config.mediaType ?? (newTypes.docker ? dockerConfig : ociConfig);
    return {
      mediaType,
      body: encodeJson({
        schemaVersion: 2,
        mediaType,
        ...existing,
        config: { mediaType: configType, size: config.byteLength, digest: sha256(config) },
        layers,
      }),
      blobs: [config],
    };
  },
});

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

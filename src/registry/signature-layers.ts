import { sha256Of } from '../model/digest.ts';
import { unusable } from './errors.ts';
import { grown } from './growing-list.ts';
import { encodeConfig, encodeManifest, maxLayers } from './layer-bytes.ts';
import { madeImage, parseImageManifest } from './manifest.ts';
import { dockerConfig, dockerManifest, ociConfig, ociManifest } from './media-types.ts';
import { sizeOf } from './pieces.ts';
import type { TagLayout } from './tag-layout.ts';

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
  build: (current, added, target) => {
    const existing = current && parseImageManifest(current, target);
    const there = existing?.layers ?? [];
    const layers = grown(there, added);
    if (layers.length > maxLayers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `the image carries ${maxLayers} signatures already; remove some first`,
      );
    }
    const { diffIds, ...config } = encodeConfig(there, added);
    const mediaType = current?.mediaType ?? (newTypes.docker ? dockerManifest : ociManifest);
    const configType = existing?.config.mediaType ?? (newTypes.docker ? dockerConfig : ociConfig);
    const image = {
      schemaVersion: 2 as const,
      mediaType,
      ...existing,
      config: { mediaType: configType, size: sizeOf(config.pieces), digest: config.digest },
      layers,
    };
    const pieces = encodeManifest(image, there, added, diffIds);
    return { mediaType, pieces, digest: sha256Of(pieces), json: madeImage(image), entries: layers, blobs: [config] };
  },
});

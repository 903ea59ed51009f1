import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { isDigest } from '../model/digest.ts';
import type { Attached, StoredAt } from '../model/signature.ts';
import { repositoryName, type ResolvedImage } from '../model/subject.ts';
import type { AttachPorts } from './attach.ts';
import { type Destination, fallbackTag, signatureTag } from './destination.ts';
import { inconsistent, unusable } from './errors.ts';
import type { Entries } from './growing-list.ts';
import { type ManifestDescriptor, parseImageManifest, parseIndex } from './manifest.ts';
import { isBundleType, ociEmpty, ociIndex, ociManifest } from './media-types.ts';
import { listReferrers, maxReferrers, tooMany } from './referrers.ts';
import { maxLayers } from './layer-bytes.ts';
import { nothingSkimmed, type Skimmed } from './skim.ts';
import type { Target } from './target.ts';

/** A blob that may be a signature, not read yet. */
export type Found = {
  readonly storedAt: StoredAt;
  readonly blob: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  /** Those of the layer, or of the manifest that refers to the image. */
  readonly annotations: Readonly<Record<string, string>>;
};

/** A manifest that is listed as one that refers to the image, not read yet. */
export type Referring = { readonly entry: ManifestDescriptor; readonly by: 'referrer' | 'fallback-tag' };

/** The places where signatures of an image lie. Safe to call concurrently. */
export type Places = {
  /** The layers at the `.sig` or `.att` tag that may be signatures: those of `all` that are chosen. Default: all of them. */
  layers(
    image: ResolvedImage,
    suffix: 'sig' | 'att',
    destination: Destination,
    context: Context,
    choose?: (all: Entries) => Entries,
  ): Promise<readonly Found[]>;
  /**
   * What refers to the image and may be a signature, by the API and by the fallback tag. With `skim` only what may be wanted
   * is read (see `listReferrers`), and the tag only where the registry is not known to list referrers.
   */
  referring(
    image: ResolvedImage,
    target: Target,
    skim: ((page: Uint8Array, url: string) => Skimmed | undefined) | undefined,
    context: Context,
  ): Promise<{ readonly referring: readonly Referring[]; readonly skimmed: Skimmed }>;
  /**
   * The signatures in one of these; none when it is something else, or gone from where the fallback tag has it. One that the
   * registry lists itself and does not have is `unavailable`, reason `REGISTRY_RESPONSE_INVALID`.
   */
  signatures(image: ResolvedImage, one: Referring, target: Target, context: Context): Promise<readonly Found[]>;
  /** The contents, in order; a signature that is listed and cannot be read is an error, never an omission. */
  read(found: readonly Found[], target: Target, context: Context): Promise<readonly Attached[]>;
};

const parallel = 8;
const layerTypes = new Set([
  'application/vnd.dev.cosign.simplesigning.v1+json',
  'application/vnd.dsse.envelope.v1+json',
]);

/** cosign's experimental `--registry-referrers-mode=oci-1-1`: the images of its `.sig` and `.att` tags, as referrers. */
const legacyArtifacts = new Set(['application/vnd.dev.cosign.artifact.sig.v1+json', 'application/vnd.in-toto+json']);

export const createPlaces = ({ transport, blobs, manifests, capability }: AttachPorts): Places => ({
  layers: async (image, suffix, destination, context, choose) => {
    const { target } = destination;
    const tag = signatureTag(image.descriptor.digest, suffix, destination);
    const stored = await manifests.get(target, tag, context);
    if (stored === undefined) return [];
    const all = parseImageManifest(stored, target).layers ?? [];
    if (all.length > maxLayers) {
      throw unusable(target, 'TOO_MANY_SIGNATURES', `tag ${tag} has more than ${maxLayers} layers`);
    }
    const storedAt: StoredAt = { repository: repositoryName(target), digest: stored.digest, by: 'tag', tag };
    return (choose?.(all) ?? all)
      .filter((layer) => layerTypes.has(layer.mediaType))
      .flatMap((layer) => found(storedAt, layer, layer.annotations));
  },

  referring: async (image, target, skim, context) => {
    // A registry with the referrers API lists there what its tag would (distribution-spec "Listing Referrers"), and cosign
    // reads no further either. Where it is not known to, or lists nothing, the tag is read as well; at once, to save a round trip.
    const { digest } = image.descriptor;
    const readTag = () => manifests.get(target, fallbackTag(digest), context);
    const known = capability.known(target);
    const [listed, early] = await Promise.all([
      listReferrers(transport, target, digest, context, skim),
      known === true ? undefined : readTag(),
    ]);
    const skimmed = listed?.skimmed ?? nothingSkimmed;
    const count = listed && listed.entries.length + skimmed.entries;
    capability.saw(target, count);
    const mayBeTagged = known === true && (count === undefined || (skim === undefined && count === 0));
    const tagged = mayBeTagged ? await readTag() : early;
    const fromApi = (listed?.entries ?? []).map((entry): Referring => ({ entry, by: 'referrer' }));
    const inApi = new Set(listed?.entries.map((entry) => entry.digest));
    const fromTag = (tagged?.mediaType === ociIndex ? (parseIndex(tagged, target).manifests ?? []) : [])
      .filter((entry) => !inApi.has(entry.digest))
      .map((entry): Referring => ({ entry, by: 'fallback-tag' }));
    const all = [...fromApi, ...fromTag];
    if (all.length + skimmed.entries > maxReferrers) throw tooMany(target, image.descriptor.digest);
    return { referring: all.filter(({ entry }) => mayBeSignature(entry)), skimmed };
  },

  signatures: async (image, { entry, by }, target, context) => {
    // The index at a tag may outlive what it lists: `cosign clean` and garbage collection leave such entries behind. What the
    // registry lists itself it has, or it hides a signature.
    const stored = await (by === 'fallback-tag' || !isDigest(entry.digest)
      ? manifests.get(target, entry.digest, context)
      : transport.retried(target, context, async () => {
          const there = await manifests.get(target, entry.digest, context);
          if (there === undefined)
            throw inconsistent(target, `${entry.digest} is listed as a referrer and is not there`);
          return there;
        }));
    if (stored === undefined || stored.mediaType !== ociManifest) return [];
    const { subject, config, layers: all = [], annotations } = parseImageManifest(stored, target);
    if (subject?.digest !== image.descriptor.digest || all === null) return [];
    const tag = by === 'referrer' ? undefined : fallbackTag(image.descriptor.digest);
    const storedAt: StoredAt = { repository: repositoryName(target), digest: stored.digest, by, tag };
    if (legacyArtifacts.has(config.mediaType)) {
      return all
        .filter((layer) => layerTypes.has(layer.mediaType))
        .flatMap((layer) => found(storedAt, layer, layer.annotations));
    }
    const [layer] = all;
    const isBundle = layer !== undefined && all.length === 1 && isBundleType(layer.mediaType);
    return isBundle ? found(storedAt, layer, annotations) : [];
  },

  read: (all, target, context) =>
    mapParallel(all, async ({ storedAt, blob, annotations }) => ({
      storedAt,
      mediaType: blob.mediaType,
      content: await blobs.get(target, blob, context),
      annotations,
    })),
});

/** May this layer of a `.sig` or `.att` image be a signature? */
export const isSignatureLayer = ({ mediaType, digest }: ManifestDescriptor): boolean =>
  layerTypes.has(mediaType) && isDigest(digest);

/** None for a blob whose digest is of an algorithm that is not read here. */
const found = (
  storedAt: StoredAt,
  layer: ManifestDescriptor,
  annotations: Readonly<Record<string, string>> | null | undefined,
): Found[] => {
  const { mediaType, digest, size } = layer;
  return isDigest(digest) ? [{ storedAt, blob: { mediaType, digest, size }, annotations: annotations ?? {} }] : [];
};

/** Some registries and older tools list bundles without their type, or with that of their empty config. */
const mayBeSignature = ({ mediaType, artifactType }: ManifestDescriptor): boolean =>
  mediaType === ociManifest &&
  (!artifactType || artifactType === ociEmpty || legacyArtifacts.has(artifactType) || isBundleType(artifactType));

/** Like `Promise.all` over `map`, with at most 8 under way; keeps the order. */
export const mapParallel = async <T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> => {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index];
      if (item !== undefined) results[index] = await run(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker));
  return results;
};

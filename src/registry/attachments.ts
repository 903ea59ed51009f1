import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { isDigest } from '../model/digest.ts';
import type { Attached, StoredAt } from '../model/signature.ts';
import { repositoryName, type ResolvedImage } from '../model/subject.ts';
import type { AttachPorts } from './attach.ts';
import { type Destination, fallbackTag, signatureTag } from './destination.ts';
import { unusable } from './errors.ts';
import { type ManifestDescriptor, parseImageManifest, parseIndex } from './manifest.ts';
import { isBundleType, ociEmpty, ociIndex, ociManifest } from './media-types.ts';
import { listReferrers, maxReferrers, tooMany } from './referrers.ts';
import { maxLayers } from './signature-layers.ts';
import type { Target } from './target.ts';

/** Reads everything attached to an image; as `Registry.attachments` of the port. */
export type ReadAttachments = (
  image: ResolvedImage,
  destination: Destination,
  context: Context,
) => Promise<readonly Attached[]>;

const parallel = 8;
/** Most bytes of all signatures of one image together. */
const maxTotalBytes = 64 * 1024 * 1024;
const layerTypes = new Set([
  'application/vnd.dev.cosign.simplesigning.v1+json',
  'application/vnd.dsse.envelope.v1+json',
]);

/** cosign's experimental `--registry-referrers-mode=oci-1-1`: the images of its `.sig` and `.att` tags, as referrers. */
const legacyArtifacts = new Set(['application/vnd.dev.cosign.artifact.sig.v1+json', 'application/vnd.in-toto+json']);

/** A blob that may be a signature, not read yet. */
type Found = {
  readonly storedAt: StoredAt;
  readonly blob: { readonly mediaType: string; readonly digest: Digest; readonly size: number };
  readonly annotations: Readonly<Record<string, string>>;
};

/**
 * Order: layers of `.sig`, of `.att`, then referrers sorted as the registry lists them. Other artifacts among the referrers
 * are left out. A signature that is listed and cannot be read is an error, never an omission.
 */
export const createReadAttachments = (ports: AttachPorts): ReadAttachments => {
  const { transport, blobs, manifests, capability } = ports;
  const layers = async (image: ResolvedImage, suffix: 'sig' | 'att', destination: Destination, context: Context) => {
    const { target } = destination;
    const tag = signatureTag(image.descriptor.digest, suffix, destination);
    const stored = await manifests.get(target, tag, context);
    if (stored === undefined) return [];
    const all = parseImageManifest(stored, target).layers ?? [];
    if (all.length > maxLayers) {
      throw unusable(target, 'TOO_MANY_SIGNATURES', `tag ${tag} has more than ${maxLayers} layers`);
    }
    const storedAt: StoredAt = { repository: repositoryName(target), digest: stored.digest, by: 'tag', tag };
    return all
      .filter((layer) => layerTypes.has(layer.mediaType))
      .map((layer) => found(storedAt, layer, layer.annotations));
  };

  const referrer = async (
    image: ResolvedImage,
    entry: ManifestDescriptor,
    by: 'referrer' | 'fallback-tag',
    target: Target,
    context: Context,
  ): Promise<readonly (Found | undefined)[]> => {
    const stored = await manifests.get(target, entry.digest, context);
    // The index may outlive what it lists: `cosign clean` and garbage collection leave such entries behind.
    if (stored === undefined || stored.mediaType !== ociManifest) return [];
    const { subject, config, layers: all = [], annotations } = parseImageManifest(stored, target);
    if (subject?.digest !== image.descriptor.digest || all === null) return [];
    const tag = by === 'referrer' ? undefined : fallbackTag(image.descriptor.digest);
    const storedAt: StoredAt = { repository: repositoryName(target), digest: stored.digest, by, tag };
    if (legacyArtifacts.has(config.mediaType)) {
      return all
        .filter((layer) => layerTypes.has(layer.mediaType))
        .map((layer) => found(storedAt, layer, layer.annotations));
    }
    const [layer] = all;
    const isBundle = layer !== undefined && all.length === 1 && isBundleType(layer.mediaType);
    return isBundle ? [found(storedAt, layer, annotations)] : [];
  };

  const referrers = async (
    image: ResolvedImage,
    target: Target,
    context: Context,
  ): Promise<readonly (Found | undefined)[]> => {
    // A registry with the referrers API lists there what its tag would (distribution-spec "Listing Referrers"), and cosign
    // reads no further either. Where it is not known to, or lists nothing, the tag is read as well; at once, to save a round trip.
    const { digest } = image.descriptor;
    const readTag = () => manifests.get(target, fallbackTag(digest), context);
    const known = capability.known(target);
    const [listed, early] = await Promise.all([
      listReferrers(transport, target, digest, context),
      known === true ? undefined : readTag(),
    ]);
    capability.saw(target, listed?.length);
    const mayBeTagged = known === true && (listed === undefined || listed.length === 0);
    const tagged = mayBeTagged ? await readTag() : early;
    const fromApi = (listed ?? []).map((entry) => ({ entry, by: 'referrer' as const }));
    const inApi = new Set(listed?.map((entry) => entry.digest));
    const fromTag = (tagged?.mediaType === ociIndex ? (parseIndex(tagged, target).manifests ?? []) : [])
      .filter((entry) => !inApi.has(entry.digest))
      .map((entry) => ({ entry, by: 'fallback-tag' as const }));
    const all = [...fromApi, ...fromTag];
    if (all.length > maxReferrers) throw tooMany(target, image.descriptor.digest);
    const candidates = all.filter(({ entry }) => mayBeSignature(entry));
    const each = await mapParallel(candidates, ({ entry, by }) => referrer(image, entry, by, target, context));
    return each.flat();
  };

  return async (image, destination, context) => {
    const { target } = destination;
    const [signatures, attestations, referring] = await Promise.all([
      layers(image, 'sig', destination, context),
      layers(image, 'att', destination, context),
      referrers(image, target, context),
    ]);
    const all = [...signatures, ...attestations, ...referring].filter((one) => one !== undefined);
    if (all.length > 2 * maxLayers + maxReferrers) {
      throw unusable(
        target,
        'TOO_MANY_SIGNATURES',
        `the image has more than ${2 * maxLayers + maxReferrers} signatures`,
      );
    }
    const total = all.reduce((sum, { blob }) => sum + blob.size, 0);
    if (total > maxTotalBytes) {
      throw unusable(target, 'TOO_MANY_SIGNATURES', `the signatures have more than ${maxTotalBytes} bytes together`);
    }
    return mapParallel(all, async ({ storedAt, blob, annotations }) => ({
      storedAt,
      mediaType: blob.mediaType,
      content: await blobs.get(target, blob, context),
      annotations,
    }));
  };
};

/** Undefined for a blob whose digest is of an algorithm that is not read here. */
const found = (
  storedAt: StoredAt,
  layer: ManifestDescriptor,
  annotations: Readonly<Record<string, string>> | null | undefined,
): Found | undefined => {
  const { mediaType, digest, size } = layer;
  return isDigest(digest) ? { storedAt, blob: { mediaType, digest, size }, annotations: annotations ?? {} } : undefined;
};

/** Some registries and older tools list bundles without their type, or with that of their empty config. */
const mayBeSignature = ({ mediaType, artifactType }: ManifestDescriptor): boolean =>
  mediaType === ociManifest &&
  (!artifactType || artifactType === ociEmpty || legacyArtifacts.has(artifactType) || isBundleType(artifactType));

/** Like `Promise.all` over `map`, with at most 8 under way; keeps the order. */
const mapParallel = async <T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> => {
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

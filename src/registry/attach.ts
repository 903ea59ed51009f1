import type { Context } from '../model/context.ts';
import { type Digest, digestHex, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Sealed, StoredAt } from '../model/signature.ts';
import type { Descriptor, ResolvedImage } from '../model/subject.ts';
import { repositoryName } from '../model/subject.ts';
import { pause } from '../net/retry.ts';
import { type Blobs, maxBlobBytes } from './blobs.ts';
import { createCache } from './cache.ts';
import { unusable } from './errors.ts';
import { fallbackIndex } from './fallback-index.ts';
import { encodeJson } from './manifest.ts';
import type { Manifests } from './manifests.ts';
import { ociEmpty, ociManifest } from './media-types.ts';
import { listReferrers } from './referrers.ts';
import { signatureLayers } from './signature-layers.ts';
import { createTagUpdater } from './tag-update.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** Attaches one sealed signature to an image, in the layout that it asks for; as `Registry.attach` of the port. */
export type Attach = (image: ResolvedImage, sealed: Sealed, target: Target, context: Context) => Promise<StoredAt>;

/** `sha256-<hex>.sig` and the like: cosign's tags. */
export const signatureTag = (digest: Digest, suffix: 'sig' | 'att'): string => `sha256-${digestHex(digest)}.${suffix}`;

/** `sha256-<hex>`: distribution-spec "Referrers Tag Schema". */
export const fallbackTag = (digest: Digest): string => `sha256-${digestHex(digest)}`;

const emptyConfig = Buffer.from('{}');
const referrersKnownForMs = 60 * 60_000;
const noReferrersKnownForMs = 10 * 60_000;
/** How long a registry may take to list what it has stored. */
const listingPausesMs = [0, 100, 300, 1_000] as const;

/** Safe to call concurrently; what a registry does with referrers is learnt once and remembered for a while. */
export const createAttach = (transport: Transport, blobs: Blobs, manifests: Manifests): Attach => {
  const updateLayers = createTagUpdater(manifests, blobs, signatureLayers);
  const updateIndex = createTagUpdater(manifests, blobs, fallbackIndex);
  /** Does the registry list referrers itself? */
  const lists = createCache<boolean>(1_000);

  const asLayer = async (
    image: ResolvedImage,
    sealed: Sealed,
    by: Sealed['attachment'] & { by: 'tag' },
    target: Target,
    context: Context,
  ): Promise<StoredAt> => {
    await blobs.put(target, sealed.content, context);
    const tag = signatureTag(image.descriptor.digest, by.suffix);
    const layer = {
      mediaType: sealed.mediaType,
      digest: sha256(sealed.content),
      size: sealed.content.byteLength,
      annotations: by.annotations,
    };
    const digest = await updateLayers(target, tag, layer, context);
    return { repository: repositoryName(target), digest, by: 'tag', tag };
  };

  /**
   * Learns whether the registry lists referrers, by what it does and not by what it says: ECR sends `OCI-Subject` and lists
   * nothing, go-containerregistry's registry lists and sends no header. Asked after a push, when the repository surely exists.
   */
  const learn = async (subject: Digest, pushed: Digest, acknowledged: boolean, target: Target, context: Context) => {
    for (const wait of listingPausesMs) {
      if (wait > 0) await pause(wait, context);
      const listed = await listReferrers(transport, target, subject, context);
      if (listed === undefined) {
        lists.set(target.registry, false, noReferrersKnownForMs);
        return false;
      }
      if (listed.some((entry) => entry.digest === pushed)) {
        lists.set(target.registry, true, referrersKnownForMs);
        return true;
      }
    }
    return acknowledged;
  };

  const asReferrer = async (
    image: ResolvedImage,
    sealed: Sealed,
    by: Sealed['attachment'] & { by: 'referrer' },
    target: Target,
    context: Context,
  ): Promise<StoredAt> => {
    await Promise.all([blobs.put(target, sealed.content, context), blobs.ensure(target, emptyConfig, context)]);
    const body = referrerManifest(image.descriptor, sealed, by);
    const digest = sha256(body);
    const outcome = await transport.retried(context, () =>
      manifests.put(target, digest, { mediaType: ociManifest, body }, undefined, context),
    );
    const acknowledged = outcome.kind === 'stored' && outcome.subject;
    const repository = repositoryName(target);
    try {
      const subject = image.descriptor.digest;
      const listed = lists.get(target.registry) ?? (await learn(subject, digest, acknowledged, target, context));
      if (listed) return { repository, digest, by: 'referrer', tag: undefined };
      const tag = fallbackTag(subject);
      const { artifactType, annotations } = by;
      await updateIndex(target, tag, { digest, size: body.byteLength, artifactType, annotations }, context);
      return { repository, digest, by: 'fallback-tag', tag };
    } catch (error) {
      throw storedButNotListed(error, `${repository}@${digest}`);
    }
  };

  return async (image, sealed, target, context) => {
    if (sealed.content.byteLength > maxBlobBytes) {
      throw unusable(target, 'BLOB_TOO_LARGE', `the signature has more than ${maxBlobBytes} bytes`);
    }
    const { attachment } = sealed;
    return attachment.by === 'tag'
      ? asLayer(image, sealed, attachment, target, context)
      : asReferrer(image, sealed, attachment, target, context);
  };
};

/** Byte for byte what cosign 3 writes; `artifactType` inside `config` is its own, `cosign clean` looks for it. */
const referrerManifest = (
  subject: Descriptor,
  sealed: Sealed,
  { artifactType, annotations }: Sealed['attachment'] & { by: 'referrer' },
): Uint8Array =>
  encodeJson({
    schemaVersion: 2,
    mediaType: ociManifest,
    config: { mediaType: ociEmpty, size: emptyConfig.byteLength, digest: sha256(emptyConfig), artifactType },
    layers: [{ mediaType: sealed.mediaType, size: sealed.content.byteLength, digest: sha256(sealed.content) }],
    annotations: Object.fromEntries(Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1))),
    subject: { mediaType: subject.mediaType, size: subject.size, digest: subject.digest },
    artifactType,
  });

/** The same failure, saying what it leaves behind. */
const storedButNotListed = (error: unknown, stored: string): unknown =>
  error instanceof CountersignError
    ? new CountersignError(
        error.code,
        error.reason,
        `${error.message} The signature itself was stored as ${stored}, but is not listed among the image's signatures yet.`,
        {
          cause: error,
          metadata: { ...error.metadata, stored },
          ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
        },
      )
    : error;

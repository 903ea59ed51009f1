import type { Context } from '../model/context.ts';
import { sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Sealed, StoredAt } from '../model/signature.ts';
import type { Descriptor, ResolvedImage } from '../model/subject.ts';
import { repositoryName } from '../model/subject.ts';
import { type Blobs, maxBlobBytes } from './blobs.ts';
import { createCertainPut } from './certain-put.ts';
import { createConditionalPut } from './conditional-put.ts';
import { type Destination, fallbackTag, signatureTag } from './destination.ts';
import { unusable, withStored } from './errors.ts';
import { fallbackIndex } from './fallback-index.ts';
import type { Lease } from './lease.ts';
import { encodeJson } from './manifest.ts';
import type { Manifests } from './manifests.ts';
import { ociEmpty, ociManifest } from './media-types.ts';
import type { ReferrersCapability } from './referrers-capability.ts';
import { signatureLayers } from './signature-layers.ts';
import { createTagUpdater } from './tag-update.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** Attaches one sealed signature to an image, in the layout that it asks for; as `Registry.attach` of the port. */
export type Attach = (
  image: ResolvedImage,
  sealed: Sealed,
  destination: Destination,
  context: Context,
) => Promise<StoredAt>;

export type AttachPorts = {
  readonly transport: Transport;
  readonly blobs: Blobs;
  readonly manifests: Manifests;
  readonly capability: ReferrersCapability;
  readonly lease?: Lease | undefined;
};

const emptyJson = Buffer.from('{}');
const emptyConfig = { pieces: [emptyJson], digest: sha256(emptyJson) };

/** `settleMs`: as `createTagUpdater`. Safe to call concurrently. */
export const createAttach = (ports: AttachPorts, settleMs: number): Attach => {
  const { transport, blobs, manifests, capability } = ports;
  const certainly = createCertainPut(transport, manifests);
  const { mayRetry } = transport;
  const tags = { manifests, blobs, conditional: createConditionalPut(manifests), lease: ports.lease, mayRetry };
  const updateLayers = createTagUpdater(tags, signatureLayers({ docker: false }), settleMs);
  const updateDockerLayers = createTagUpdater(tags, signatureLayers({ docker: true }), settleMs);
  const updateIndex = createTagUpdater(tags, fallbackIndex, settleMs);

  const asLayer = async (
    image: ResolvedImage,
    sealed: Sealed,
    by: Sealed['attachment'] & { by: 'tag' },
    destination: Destination,
    context: Context,
  ): Promise<StoredAt> => {
    const { target } = destination;
    await blobs.put(target, sealed.content, context);
    const tag = signatureTag(image.descriptor.digest, by.suffix, destination);
    const layer = {
      mediaType: sealed.mediaType,
      size: sealed.content.byteLength,
      digest: sha256(sealed.content),
      annotations: by.annotations,
    };
    const update = destination.dockerMediaTypes ? updateDockerLayers : updateLayers;
    const digest = await update(target, tag, layer, context);
    return { repository: repositoryName(target), digest, by: 'tag', tag };
  };

  const asReferrer = async (
    image: ResolvedImage,
    sealed: Sealed,
    by: Sealed['attachment'] & { by: 'referrer' },
    { target, fallbackTag: policy }: Destination,
    context: Context,
  ): Promise<StoredAt> => {
    await Promise.all([blobs.put(target, sealed.content, context), blobs.ensure(target, emptyConfig, context)]);
    const body = referrerManifest(image.descriptor, sealed, by);
    const digest = sha256(body);
    const acknowledged = await certainly.put(target, { mediaType: ociManifest, body }, context);
    const repository = repositoryName(target);
    try {
      const subject = image.descriptor.digest;
      const listed = await capability.lists(target, { subject, digest, acknowledged }, context);
      if (listed && policy !== 'always') return { repository, digest, by: 'referrer', tag: undefined };
      if (!listed && policy === 'never') throw notListing(target);
      const tag = fallbackTag(subject);
      const { artifactType, annotations } = by;
      const entry = { mediaType: ociManifest, size: body.byteLength, digest, artifactType, annotations };
      await updateIndex(target, tag, entry, context);
      return { repository, digest, by: listed ? 'referrer' : 'fallback-tag', tag };
    } catch (error) {
      const stored = `${repository}@${digest}`;
      throw withStored(
        error,
        stored,
        `The signature itself was stored as ${stored}, but is not certain to be listed among the image's signatures.`,
      );
    }
  };

  return async (image, sealed, destination, context) => {
    if (sealed.content.byteLength > maxBlobBytes) {
      throw unusable(destination.target, 'BLOB_TOO_LARGE', `the signature has more than ${maxBlobBytes} bytes`);
    }
    const { attachment } = sealed;
    const store = (): Promise<StoredAt> =>
      attachment.by === 'tag'
        ? asLayer(image, sealed, attachment, destination, context)
        : asReferrer(image, sealed, attachment, destination, context);
    try {
      return await store();
    } catch (error) {
      if (!lacksBlobs(error)) throw error;
      blobs.forget(destination.target);
      return store();
    }
  };
};

/** Was a manifest refused since a blob of it is not there? One that we know of may have been collected, or the repository made anew. */
const lacksBlobs = (error: unknown): boolean =>
  error instanceof CountersignError &&
  ['MANIFEST_BLOB_UNKNOWN', 'BLOB_UNKNOWN'].includes(error.metadata['registryCode'] ?? '');

const notListing = (target: Target): CountersignError =>
  unusable(
    target,
    'REFERRERS_UNSUPPORTED',
    'the registry does not list referrers, and the configuration (registry.destinations, fallbackTag: never) wants no fallback tag',
  );

/** Byte for byte what cosign 3 writes; `artifactType` inside `config` is its own, `cosign clean` looks for it. */
const referrerManifest = (
  subject: Descriptor,
  sealed: Sealed,
  { artifactType, annotations }: Sealed['attachment'] & { by: 'referrer' },
): Uint8Array =>
  encodeJson({
    schemaVersion: 2,
    mediaType: ociManifest,
    config: { mediaType: ociEmpty, size: emptyJson.byteLength, digest: emptyConfig.digest, artifactType },
    layers: [{ mediaType: sealed.mediaType, size: sealed.content.byteLength, digest: sha256(sealed.content) }],
    annotations: Object.fromEntries(Object.entries(annotations).sort(([a], [b]) => (a < b ? -1 : 1))),
    subject: { mediaType: subject.mediaType, size: subject.size, digest: subject.digest },
    artifactType,
  });

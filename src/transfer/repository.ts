import type { Context } from '../model/context.ts';
import { repositoryName } from '../model/subject.ts';
import { createAllowList } from '../registry/allow-list.ts';
import { createAuthenticator } from '../registry/auth.ts';
import { type BlobStreams, createBlobStreams } from '../registry/blob-stream.ts';
import { type Blobs, createBlobs } from '../registry/blobs.ts';
import { type ConditionalPut, createConditionalPut } from '../registry/conditional-put.ts';
import { fallbackTag } from '../registry/destination.ts';
import { parseIndex } from '../registry/manifest.ts';
import { createManifests, type Manifests } from '../registry/manifests.ts';
import { ociIndex } from '../registry/media-types.ts';
import { listReferrers, maxReferrers, tooMany } from '../registry/referrers.ts';
import { createReferrersCapability, type ReferrersCapability } from '../registry/referrers-capability.ts';
import type { RegistryOptions } from '../registry/registry.ts';
import { createResolve, type Resolve } from '../registry/resolve.ts';
import type { Target } from '../registry/target.ts';
import { createTransport, type Transport } from '../registry/transport.ts';
import type { Source } from './source.ts';

/** The parts of registries that are spoken to for a transfer, all over one HTTP client. */
export type Registries = {
  readonly transport: Transport;
  readonly manifests: Manifests;
  readonly blobs: Blobs;
  readonly streams: BlobStreams;
  readonly capability: ReferrersCapability;
  readonly conditional: ConditionalPut;
  readonly resolve: Resolve;
};

export const openRegistries = (
  options: Pick<RegistryOptions, 'http' | 'credentials' | 'plainHttpHosts' | 'allowPrivate' | 'tries'>,
): Registries => {
  const authenticator = createAuthenticator(options);
  const transport = createTransport({ ...options, authenticator, allowList: createAllowList(undefined) });
  const manifests = createManifests(transport);
  return {
    transport,
    manifests,
    blobs: createBlobs(transport),
    streams: createBlobStreams(transport),
    capability: createReferrersCapability(transport),
    conditional: createConditionalPut(manifests),
    resolve: createResolve(manifests),
  };
};

/** A repository to read from. Referrers: what the API and the fallback tag list, each once. */
export const repositorySource = (registries: Registries, target: Target): Source => ({
  name: repositoryName(target),
  target,
  manifest: (digest, context) => registries.manifests.get(target, digest, context),
  tagged: (tag, context) => registries.manifests.get(target, tag, context),
  referrers: async (digest, context) => {
    const { api, tag } = await listed(registries, target, digest, context);
    const inApi = new Set(api?.map((entry) => entry.digest));
    const all = [...(api ?? []), ...tag.filter((entry) => !inApi.has(entry.digest))];
    if (all.length > maxReferrers) throw tooMany(target, digest);
    return all;
  },
  blob: (blob, context) => registries.streams.read(target, blob, context),
});

/** What the referrers API (undefined: there is none) and the fallback tag say. */
export const listed = async (
  { transport, manifests }: Registries,
  target: Target,
  digest: `sha256:${string}`,
  context: Context,
) => {
  const [fromApi, tagged] = await Promise.all([
    listReferrers(transport, target, digest, context),
    manifests.get(target, fallbackTag(digest), context),
  ]);
  return {
    api: fromApi?.entries,
    tag: tagged?.mediaType === ociIndex ? (parseIndex(tagged, target).manifests ?? []) : [],
    tagged,
  };
};

import type { HttpClient } from '../net/port.ts';
import { createAllowList } from './allow-list.ts';
import { createAttach } from './attach.ts';
import { createReadAttachments } from './attachments.ts';
import { createAuthenticator } from './auth.ts';
import { createBlobs } from './blobs.ts';
import type { Credentials } from './credentials/source.ts';
import { createFindDestination } from './destination.ts';
import type { Lease } from './lease.ts';
import { createManifests } from './manifests.ts';
import { createNested } from './nested.ts';
import { createPlaces } from './places.ts';
import type { Registry } from './port.ts';
import { createLookFor } from './present.ts';
import { createReferrersCapability } from './referrers-capability.ts';
import { createResolve } from './resolve.ts';
import type { DestinationSettings } from './settings.ts';
import { createTransport } from './transport.ts';

export type RegistryOptions = {
  /** Owned from here on: `close` closes it. Its own `plainHttpHosts` must hold the ones given here. */
  readonly http: HttpClient;
  readonly credentials: Credentials;
  /** As in `net/egress.ts`. */
  readonly plainHttpHosts: readonly string[];
  /** As in `net/egress.ts`: for token services that registries name. Default: none. */
  readonly allowPrivate?: readonly string[];
  /** The repositories that are used, entries as `createAllowList` has them. Default: all. */
  readonly allow?: readonly string[] | undefined;
  /** Attempts of a request that failed in a way that may pass; at least 1. */
  readonly tries: number;
  /** How signatures are kept, by the repository of the image. Default: beside it. */
  readonly destinations?: readonly DestinationSettings[];
  /** The settling time of writes to tags, milliseconds. Default: 1,000. */
  readonly settleMs?: number;
  /** Default: none. */
  readonly lease?: Lease | undefined;
};

/** The registries of the port, all behind one HTTP client. */
export const createRegistry = (options: RegistryOptions): Registry => {
  const authenticator = createAuthenticator(options);
  const transport = createTransport({ ...options, authenticator, allowList: createAllowList(options.allow) });
  const blobs = createBlobs(transport);
  const manifests = createManifests(transport);
  const ports = { transport, blobs, manifests, capability: createReferrersCapability(transport), lease: options.lease };
  const attach = createAttach(ports, options.settleMs ?? 1_000);
  const places = createPlaces(ports);
  const attachments = createReadAttachments(places);
  const lookFor = createLookFor(places);
  const nested = createNested(manifests);
  const destination = createFindDestination(options.destinations ?? []);

  return {
    resolve: createResolve(manifests),
    attach: async (image, sealed, repository, context) => {
      const there = destination(image, repository);
      const stored = await attach(image, sealed, there, context);
      lookFor.stored(image, sealed, there);
      return stored;
    },
    attachments: async (image, repository, context) => attachments(image, destination(image, repository), context),
    present: async (image, sought, repository, context) =>
      lookFor.present(image, sought, destination(image, repository), context),
    nested,
    layouts: (image, repository) => {
      const { layouts, otherLayout } = destination(image, repository);
      return { layouts, otherLayout };
    },
    close: () => options.http.close(),
  };
};

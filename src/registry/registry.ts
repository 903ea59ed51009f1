import type { HttpClient } from '../net/port.ts';
import { createAttach } from './attach.ts';
import { createReadAttachments } from './attachments.ts';
import { createAuthenticator } from './auth.ts';
import { createBlobs } from './blobs.ts';
import type { Credentials } from './credentials.ts';
import { createManifests } from './manifests.ts';
import type { Registry } from './port.ts';
import { parseRepository } from './reference.ts';
import { createResolve } from './resolve.ts';
import type { Target } from './target.ts';
import { createTransport } from './transport.ts';

export type RegistryOptions = {
  /** Owned from here on: `close` closes it. Its own `plainHttpHosts` must hold the ones given here. */
  readonly http: HttpClient;
  readonly credentials: Credentials;
  /** As in `net/egress.ts`. */
  readonly plainHttpHosts: readonly string[];
  /** Attempts of a request that failed in a way that may pass; at least 1. */
  readonly tries: number;
};

/** The registries of the port, all behind one HTTP client. */
export const createRegistry = (options: RegistryOptions): Registry => {
  const authenticator = createAuthenticator(options);
  const transport = createTransport({ ...options, authenticator });
  const blobs = createBlobs(transport);
  const manifests = createManifests(transport);
  const attach = createAttach(transport, blobs, manifests);
  const attachments = createReadAttachments(transport, blobs, manifests);
  const target = (image: Target, repository: string | undefined): Target =>
    repository === undefined
      ? { registry: image.registry, repository: image.repository }
      : parseRepository(repository, 'storage.repository');

  return {
    resolve: createResolve(manifests),
    attach: async (image, sealed, repository, context) => attach(image, sealed, target(image, repository), context),
    attachments: async (image, repository, context) => attachments(image, target(image, repository), context),
    close: () => options.http.close(),
  };
};

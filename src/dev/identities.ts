import { credentials } from '@grpc/grpc-js';
import { createServiceClient, type ServiceClient } from '../cli/client.ts';
import type { World } from './world.ts';

/** Who calls in the demo: nobody, a build of the main branch, or the release of a tag. */
export type Identity = 'nobody' | 'main-branch' | 'release';

/** A fresh token; undefined for nobody. */
export const tokenOf = async (world: World, identity: Identity): Promise<string | undefined> => {
  if (identity === 'nobody') return undefined;
  return world.token(identity === 'main-branch' ? { ref: 'refs/heads/main' } : {});
};

/** A gRPC client of the world's service that calls as somebody. */
export const clientOf = (world: World, identity: Identity): ServiceClient =>
  createServiceClient({
    authority: world.grpc,
    credentials: credentials.createInsecure(),
    token: () => tokenOf(world, identity),
    timeoutMs: 10_000,
  });

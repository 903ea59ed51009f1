import type { ServiceClient } from '../cli/client.ts';
import { clientOf, type Identity } from './identities.ts';
import { type PushedImage, pushImage } from './image.ts';
import type { Narrator } from './narrator.ts';
import { type RepositoryClient, repositoryClient } from './registry/client.ts';
import type { World } from './world.ts';

export const repository = 'acme/app';

/** What the steps of the demo share. */
export type Scene = {
  readonly world: World;
  readonly tell: Narrator;
  /** `host/acme/app` */
  readonly name: string;
  /** `host/acme/app:v1`, an index of two platforms. */
  readonly reference: string;
  readonly image: PushedImage;
  readonly client: RepositoryClient;
  /** A gRPC client that calls as somebody; closed at the end of the scene. */
  as(identity: Identity): ServiceClient;
};

/** Pushes the image that the demo is about, and opens clients as they are asked for. */
export const openScene = async (world: World, tell: Narrator): Promise<{ scene: Scene; close(): void }> => {
  const opened: ServiceClient[] = [];
  const { host } = world.registry;
  const scene: Scene = {
    world,
    tell,
    name: `${host}/${repository}`,
    reference: `${host}/${repository}:v1`,
    image: await pushImage(host, repository, 'v1'),
    client: repositoryClient(host, repository),
    as: (identity) => {
      const client = clientOf(world, identity);
      opened.push(client);
      return client;
    },
  };
  const close = (): void => {
    for (const client of opened) client.close();
  };
  return { scene, close };
};

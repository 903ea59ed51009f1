import type { Narrator } from './narrator.ts';
import { openScene } from './scene.ts';
import { tellEvidence } from './story-evidence.ts';
import { tellRefusals } from './story-refusals.ts';
import { tellSigning } from './story-signing.ts';
import { tellVerifying } from './story-verifying.ts';
import type { World } from './world.ts';

/** What a told story leaves for its reader. */
export type Told = { readonly reference: string; readonly publicKey: string };

/** Tells the story of a signature in a fresh world, with real requests over TCP. Throws at the first claim that is not so. */
export const tellStory = async (world: World, tell: Narrator): Promise<Told> => {
  const { scene, close } = await openScene(world, tell);
  try {
    tell.facts([
      ['issuer', `${world.issuer}, mints CI-shaped tokens`],
      ['registry', `${world.registry.host}, OCI 1.1 with the referrers API`],
      ['key', `${world.key}, ECDSA P-256, made a moment ago`],
      ['service', `gRPC ${world.grpc}, REST ${world.rest}, admin ${world.admin}`],
      ['image', `${scene.reference}, ${scene.image.platforms.map(({ platform }) => platform).join(' and ')}`],
    ]);
    await tellRefusals(scene);
    await tellSigning(scene);
    await tellVerifying(scene);
    return { reference: scene.reference, publicKey: await tellEvidence(scene) };
  } finally {
    close();
  }
};

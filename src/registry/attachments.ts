import type { Context } from '../model/context.ts';
import type { Attached } from '../model/signature.ts';
import type { ResolvedImage } from '../model/subject.ts';
import type { Destination } from './destination.ts';
import { unusable } from './errors.ts';
import { mapParallel, type Places } from './places.ts';
import { maxReferrers } from './referrers.ts';
import { maxLayers } from './layer-bytes.ts';

/** Reads everything attached to an image; as `Registry.attachments` of the port. */
export type ReadAttachments = (
  image: ResolvedImage,
  destination: Destination,
  context: Context,
) => Promise<readonly Attached[]>;

/** Most bytes of all signatures of one image together. */
const maxTotalBytes = 64 * 1024 * 1024;

/**
 * Order: layers of `.sig`, of `.att`, then referrers sorted as the registry lists them. Other artifacts among the referrers
 * are left out. A signature that is listed and cannot be read is an error, never an omission.
 */
export const createReadAttachments =
  (places: Places): ReadAttachments =>
  async (image, destination, context) => {
    const { target } = destination;
    const referrers = async () => {
      const { referring } = await places.referring(image, target, undefined, context);
      const each = await mapParallel(referring, (one) => places.signatures(image, one, target, context));
      return each.flat();
    };
    const [signatures, attestations, bundles] = await Promise.all([
      places.layers(image, 'sig', destination, context),
      places.layers(image, 'att', destination, context),
      referrers(),
    ]);
    const all = [...signatures, ...attestations, ...bundles];
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
    return places.read(all, target, context);
  };

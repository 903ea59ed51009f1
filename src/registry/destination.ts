import type { Digest } from '../model/digest.ts';
import { digestHex } from '../model/digest.ts';
import { entryFits } from './allow-list.ts';
import { parseRepository } from './reference.ts';
import type { DestinationSettings } from './settings.ts';
import type { Target } from './target.ts';

/** The layouts of one image's signatures. */
export type Layouts = {
  /** Where a request that names no formats is stored: `tag` is `.sig` or `.att`, `referrer` a bundle. At least one. */
  readonly layouts: readonly ('tag' | 'referrer')[];
  /** Is a layout that the image carries already written as well? */
  readonly otherLayout: 'written' | 'ignored';
};

/** Where the signatures of one image lie, and how. */
export type Destination = Layouts & {
  readonly target: Target;
  /** What the tags `.sig` and `.att` begin with; mostly empty. */
  readonly tagPrefix: string;
  readonly dockerMediaTypes: boolean;
  readonly fallbackTag: 'auto' | 'always' | 'never';
};

/**
 * The image's repository, and the one that the request names if it does, -> Destination: that of the request, else the one
 * configured for the image (the first entry that fits), else beside the image. Throws `invalid_argument`
 * (`storage.repository`) for a bad name.
 */
export type FindDestination = (image: Target, repository: string | undefined) => Destination;

export const createFindDestination = (settings: readonly DestinationSettings[]): FindDestination => {
  const configured = settings.map((one) => ({
    ...one,
    target: one.signatureRepository === undefined ? undefined : parseRepository(one.signatureRepository),
  }));
  return (image, repository) => {
    const found = configured.find(({ repositories }) => repositories.some((entry) => entryFits(entry, image)));
    const beside = { registry: image.registry, repository: image.repository };
    return {
      target: repository === undefined ? (found?.target ?? beside) : parseRepository(repository, 'storage.repository'),
      tagPrefix: found?.tagPrefix ?? '',
      dockerMediaTypes: found?.dockerMediaTypes ?? false,
      fallbackTag: found?.fallbackTag ?? 'auto',
      layouts: found?.layouts ?? ['referrer'],
      otherLayout: found?.otherLayout ?? 'written',
    };
  };
};

/** `sha256-<hex>.sig` and the like, after the prefix: cosign's tags. */
export const signatureTag = (digest: Digest, suffix: 'sig' | 'att', { tagPrefix }: Destination): string =>
  `${tagPrefix}sha256-${digestHex(digest)}.${suffix}`;

/** `sha256-<hex>`: distribution-spec "Referrers Tag Schema". */
export const fallbackTag = (digest: Digest): string => `sha256-${digestHex(digest)}`;

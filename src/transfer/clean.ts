import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { fallbackTag } from '../registry/destination.ts';
import { encodeJson, parseIndex } from '../registry/manifest.ts';
import { ociIndex } from '../registry/media-types.ts';
import type { Target } from '../registry/target.ts';
import type { Attachment, Graph } from './gather.ts';
import type { Registries } from './repository.ts';

/** `all`: signatures, attestations and SBOMs; `referrer`: everything that refers to the image by digest, whatever it is. */
export type CleanType = 'signature' | 'attestation' | 'sbom' | 'referrer' | 'all';

export type Cleaned = {
  readonly attachment: Attachment;
  /**
   * `unlisted`: readers without the referrers API do not see it any more, but the registry deletes no manifests; `refused`: it deletes neither
   * manifests nor tags; `kept`: another image needs it, or it is part of the image.
   */
  readonly outcome: 'would be removed' | 'removed' | 'absent' | 'unlisted' | 'refused' | 'kept';
};

const maxTries = 5;

/** What of the attachments of these subjects is of that type, and what is attached to these in turn: in the order in which it can go. */
export const chooseForCleaning = (
  graph: Graph,
  type: CleanType,
  subjects: readonly Digest[],
): readonly Attachment[] => {
  const fits = ({ kind, by }: Attachment): boolean =>
    type === 'all' ? kind !== 'other' : type === 'referrer' ? by === 'referrer' : kind === type;
  const chosen: Attachment[] = graph.attachments.filter((one) => subjects.includes(one.subject) && fits(one));
  for (const { digest } of chosen) {
    for (const one of graph.attachments) if (one.subject === digest && !chosen.includes(one)) chosen.push(one);
  }
  return chosen.toReversed();
};

/**
 * Removes attachments, one after the other; never a manifest of the image. A referrer leaves the index at the fallback tag before its manifest
 * goes, so that nothing is listed that is not there.
 */
export const clean = async (
  registries: Registries,
  graph: Graph,
  chosen: readonly Attachment[],
  context: Context,
): Promise<readonly Cleaned[]> => {
  const { manifests } = registries;
  const kept = new Set(
    [...graph.nodes.values()].filter(({ place }) => place === 'image').map(({ stored }) => stored.digest),
  );
  const cleaned: Cleaned[] = [];
  const neededElsewhere = (attachment: Attachment): boolean =>
    graph.attachments.some((other) => other.digest === attachment.digest && !chosen.includes(other));

  const outcomeOf = async (attachment: Attachment): Promise<Cleaned['outcome']> => {
    const { target } = attachment.from;
    if (target === undefined || kept.has(attachment.digest)) return 'kept';
    if (attachment.by === 'tag') {
      // Many registries delete by digest alone; then every tag of it goes, so it must be nobody else's.
      const byTag = await manifests.remove(target, attachment.tag, context);
      if (byTag === 'removed') return 'removed';
      if ((await manifests.describe(target, attachment.tag, context)) === undefined) return 'absent';
      return neededElsewhere(attachment) ? 'kept' : manifests.remove(target, attachment.digest, context);
    }
    const unlisted = await unlist(registries, target, attachment, context);
    if (neededElsewhere(attachment)) return unlisted ? 'unlisted' : 'kept';
    const removed = await manifests.remove(target, attachment.digest, context);
    return removed === 'refused' && unlisted ? 'unlisted' : removed;
  };

  for (const attachment of chosen) cleaned.push({ attachment, outcome: await outcomeOf(attachment) });
  return cleaned;
};

/** Takes an entry out of the index at the fallback tag; false when it is not in it. An index that is empty then goes as well, where the registry lets it. */
const unlist = async (
  { manifests, conditional }: Registries,
  target: Target,
  { subject, digest }: Attachment,
  context: Context,
): Promise<boolean> => {
  const tag = fallbackTag(subject);
  for (let tries = 0; tries < maxTries; tries++) {
    const current = await manifests.get(target, tag, context);
    if (current?.mediaType !== ociIndex) return tries > 0;
    const index = parseIndex(current, target);
    const entries = index.manifests ?? [];
    const left = entries.filter((entry) => entry.digest !== digest);
    if (left.length === entries.length) return tries > 0;
    const body = encodeJson({ ...index, manifests: left });
    if ((await conditional.put(target, tag, { mediaType: ociIndex, body }, current, context)) === 'changed') continue;
    if (left.length === 0) await manifests.remove(target, tag, context);
    return true;
  }
  return false;
};

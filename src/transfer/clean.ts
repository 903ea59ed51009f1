import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { dockerConfig, ociConfig } from '../registry/media-types.ts';
import type { Attachment, Graph } from './gather.ts';
import { manifestsOf } from './gather.ts';
import type { Registries } from './repository.ts';
import { unlist } from './unlist.ts';
import { refusedOnly, untag } from './untag.ts';

/** `all`: signatures, attestations and SBOMs; `referrer`: everything that refers to the image by digest, whatever it is. */
export type CleanType = 'signature' | 'attestation' | 'sbom' | 'referrer' | 'all';

/** What is attached and of the type; `kept`: it stays, as it is part of an image, or something that stays needs it. */
export type Planned = { readonly attachment: Attachment; readonly kept: boolean };

export type Cleaned = {
  readonly attachment: Attachment;
  /**
   * `unlisted`: readers without the referrers API do not see it any more, but the registry deletes no manifests; `refused`: it deletes neither
   * manifests nor tags; `changed`: somebody has added to the tag since it was read, so it was left; `kept`: as planned.
   */
  readonly outcome: 'removed' | 'absent' | 'unlisted' | 'refused' | 'changed' | 'kept' | 'failed' | 'not tried';
};

/**
 * What is more than something attached: BuildKit's attestations refer to an image, and the index above it lists them, so that it cannot be copied
 * without; an image may refer to another.
 */
const ownLife = ['application/vnd.docker.attestation.manifest.v1+json', ociConfig, dockerConfig];

/**
 * What of the attachments of these subjects is of that type, and what is attached to these in turn: in the order in which it can go. Asks nobody;
 * a dry run shows it.
 */
export const planCleaning = (graph: Graph, type: CleanType, subjects: readonly Digest[]): readonly Planned[] => {
  const fits = ({ kind, by }: Attachment): boolean =>
    type === 'all' ? kind !== 'other' : type === 'referrer' ? by === 'referrer' : kind === type;
  const chosen = new Set(graph.attachments.filter((one) => subjects.includes(one.subject) && fits(one)));
  const listed = new Set([...manifestsOf(graph), ...[...graph.nodes.values()].flatMap(({ children }) => children)]);
  const attachedAgain = (to: Attachment): boolean =>
    graph.attachments.some((one) => one.digest === to.digest && one.from === to.from && !chosen.has(one));
  /** A referrer goes by its digest, so nothing else may lead to it; of a tag only the tag goes. */
  const isKept = (one: Attachment): boolean =>
    one.from.target === undefined ||
    listed.has(one.digest) ||
    (one.by === 'referrer' && (ownLife.includes(one.artifactType) || attachedAgain(one)));
  const keepsItsOwn = (one: Attachment): boolean =>
    isKept(one) || attachedAgain(one) || (one.by === 'tag' && one.suffix === 'sbom');

  // Grows while it is walked. An SBOM has the same manifest at every image that it is attached to: what is attached to it is of all of these.
  for (const above of chosen) {
    if (keepsItsOwn(above)) continue;
    for (const one of graph.attachments) if (one.subject === above.digest) chosen.add(one);
  }
  return [...chosen].toReversed().map((attachment) => ({ attachment, kept: isKept(attachment) }));
};

/**
 * Removes what was planned, one after the other. A referrer leaves the index at the fallback tag before its manifest goes, so that nothing is
 * listed that is not there. What others have added meanwhile stays. The first error ends it, and is given besides what was done before.
 * `settleMs`: how long a fallback tag is watched where the registry looks at no conditions.
 */
export const clean = async (
  registries: Registries,
  planned: readonly Planned[],
  settleMs: number,
  context: Context,
): Promise<{ readonly cleaned: readonly Cleaned[]; readonly failure?: unknown }> => {
  const unlistings = new Map<string, Promise<ReadonlySet<string>>>();

  /** All that go from one index in one write. */
  const unlisted = async ({ from, subject, digest }: Attachment): Promise<boolean> => {
    const key = `${from.name}@${subject}`;
    const together = planned.filter(
      (one) =>
        !one.kept &&
        one.attachment.by === 'referrer' &&
        `${one.attachment.from.name}@${one.attachment.subject}` === key,
    );
    const gone = new Set<string>(together.map(({ attachment }) => attachment.digest));
    const working =
      unlistings.get(key) ??
      (from.target === undefined
        ? Promise.resolve(new Set<string>())
        : unlist(registries, { target: from.target, subject, gone }, settleMs, context));
    unlistings.set(key, working);
    return (await working).has(digest);
  };

  const outcomeOf = async ({ attachment, kept }: Planned): Promise<Cleaned['outcome']> => {
    const { from, digest } = attachment;
    if (kept || from.target === undefined) return 'kept';
    if (attachment.by === 'tag') return untag(registries, from.target, attachment.tag, digest, context);
    const wasListed = await unlisted(attachment).catch(refusedOnly);
    if (wasListed === 'refused') return 'refused';
    const answer = await registries.manifests.remove(from.target, digest, context);
    // Some say so to whoever may not delete.
    const stays =
      answer === 'absent' && (await registries.manifests.describe(from.target, digest, context)) !== undefined;
    const removed = stays ? 'refused' : answer;
    return removed === 'refused' && wasListed ? 'unlisted' : removed;
  };

  const cleaned: Cleaned[] = [];
  for (const [at, one] of planned.entries()) {
    try {
      cleaned.push({ attachment: one.attachment, outcome: await outcomeOf(one) });
    } catch (failure) {
      const others = planned.slice(at + 1).map(({ attachment }): Cleaned => ({ attachment, outcome: 'not tried' }));
      return { cleaned: [...cleaned, { attachment: one.attachment, outcome: 'failed' }, ...others], failure };
    }
  }
  return { cleaned };
};

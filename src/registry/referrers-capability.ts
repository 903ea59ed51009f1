import type { Context } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { repositoryName } from '../model/subject.ts';
import { pause } from '../net/retry.ts';
import { createCache } from './cache.ts';
import { listReferrers } from './referrers.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** A manifest with a subject that was just pushed. */
export type Pushed = {
  readonly subject: Digest;
  readonly digest: Digest;
  /** Did the registry answer with `OCI-Subject`? */
  readonly acknowledged: boolean;
};

/** Whether repositories list referrers (distribution-spec "Listing Referrers"), learnt from what they do. Safe to call concurrently. */
export type ReferrersCapability = {
  /** Does the registry list what was just pushed, so that no fallback tag is needed? Asks only when that is not known. */
  lists(target: Target, pushed: Pushed, context: Context): Promise<boolean>;
  /** Undefined while it is not known. */
  known(target: Target): boolean | undefined;
  /** A reader saw how many the API listed (undefined: there is no API): what contradicts this is forgotten. */
  saw(target: Target, listed: number | undefined): void;
};

/** `acknowledged`: undefined when only a reader has seen it. */
type Known = { readonly lists: boolean; readonly acknowledged: boolean | undefined };

const listsForMs = 60 * 60_000;
const lacksForMs = 10 * 60_000;
const readerForMs = 10 * 60_000;
/** How long a registry may take to list what it has stored. */
const listingPausesMs = [0, 100, 300, 1_000] as const;

/**
 * Learnt by what the registry does and not by what it says: some send `OCI-Subject` and list nothing, go-containerregistry's
 * lists and sends no header. Remembered for an hour (it lists) or ten minutes (it does not), for each repository, as one host
 * may hold several kinds. Learnt anew when the header comes where it did not come before, or the other way round.
 */
export const createReferrersCapability = (transport: Transport): ReferrersCapability => {
  const repositories = createCache<Known>(10_000);
  const remember = (target: Target, lists: boolean, acknowledged: boolean): boolean => {
    repositories.set(repositoryName(target), { lists, acknowledged }, lists ? listsForMs : lacksForMs);
    return lists;
  };

  /** Asked after a push, when the repository surely exists. */
  const learn = async (target: Target, { subject, digest, acknowledged }: Pushed, context: Context) => {
    for (const wait of listingPausesMs) {
      if (wait > 0) await pause(wait, context);
      const listed = await listReferrers(transport, target, subject, context);
      if (listed === undefined) return remember(target, false, acknowledged);
      if (listed.entries.some((entry) => entry.digest === digest)) return remember(target, true, acknowledged);
    }
    return acknowledged;
  };

  return {
    lists: async (target, pushed, context) => {
      const known = repositories.get(repositoryName(target));
      return known?.acknowledged === pushed.acknowledged ? known.lists : learn(target, pushed, context);
    },
    known: (target) => repositories.get(repositoryName(target))?.lists,
    saw: (target, listed) => {
      const name = repositoryName(target);
      const known = repositories.get(name);
      if (known !== undefined && known.lists !== (listed !== undefined)) repositories.delete(name);
      else if (known === undefined && listed)
        repositories.set(name, { lists: true, acknowledged: undefined }, readerForMs);
    },
  };
};

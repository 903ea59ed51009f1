import { assertLive, type Context, openContext, remainingMs } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { repositoryName } from '../model/subject.ts';
import { waitFor } from '../model/wait.ts';
import { pause } from '../net/retry.ts';
import { withStored } from './errors.ts';
import type { Lease } from './lease.ts';
import type { ManifestDescriptor } from './manifest.ts';
import type { TagLayout } from './tag-layout.ts';
import { createTagQueues, type TagQueue, type Waiter } from './tag-queue.ts';
import { createTagRound, type Done, type TagPorts } from './tag-round.ts';
import type { Target } from './target.ts';

/** Adds an entry to the manifest at a tag; answers with the digest of a manifest that holds it. */
export type TagUpdater = (target: Target, tag: string, entry: ManifestDescriptor, context: Context) => Promise<Digest>;

const firstPauseMs = 40;
const maxPauseMs = 1_000;
/** For the work of nobody who waits: milliseconds. */
const ownWorkMs = 30_000;

/**
 * Adds entries to what lies at tags, so that concurrent writers lose none.
 *
 * In one process, all entries that wait for one tag go into one write. Between processes: where conditional requests are
 * honoured a write is refused when its reading is old, and one reading afterwards is enough. Where they are not, the last
 * writer wins whatever it has read, and a slow one may still be under way: a reading older than half of `settleMs` is not
 * written from, and an entry counts only when it is read back `settleMs` after it was written (longer, where the registry
 * itself was seen to be slow); one that is gone by then is written again, with all others that were seen beside it. So
 * nothing is lost as long as no writer takes longer than the settling time between its reading and the end of its write.
 *
 * With a lease, entries are written under it, and count as soon as it has ended and was certain; where it was not, all is as
 * without. Whoever finds after a write that the lease was lost may have overwritten what others, who had it meanwhile, take for
 * certain: their manifests are named in the notes of the lease, and what they held is written again, whether anybody waits or
 * not. A write whose answer did not come keeps the lease for as long as it may take, and is waited out where it was lost.
 *
 * An entry is written at most 10 times. Throws what the registry failed with; `unavailable`, reason `TAG_CONTENDED`, when
 * others keep overwriting. An error, the end of the context included, names in its metadata (`stored`) the manifest in which
 * the entry was written, or may have been: it may lie there still.
 */
export const createTagUpdater = (ports: TagPorts, layout: TagLayout, settleMs: number): TagUpdater => {
  const { lease } = ports;
  const round = createTagRound(ports, layout, settleMs);
  const queues = createTagQueues();

  const leasedRound = async (queue: TagQueue, context: Context, from: Lease): Promise<number> => {
    let done: Done | undefined;
    const wait = (queue.owes?.at ?? 0) - performance.now();
    if (wait > 0) await pause(wait, context);
    const name = `${repositoryName(queue.target)}:${queue.tag}`;
    const outcome = await from.hold(name, context, async (held) => {
      done = await round(queue, held.context, held);
      return { note: done.stored, lingerMs: done.open === undefined ? 0 : queue.settleMs };
    });
    if (outcome === 'certain') {
      // Seen there, or written, and nobody else can have been at it.
      const now = performance.now();
      for (const waiter of queue.waiters) if (waiter.due !== undefined) waiter.due = Math.min(waiter.due, now);
    }
    const wrote = done?.stored ?? done?.open;
    if (outcome === 'lost' && wrote !== undefined) queue.owe(done?.open === undefined ? 0 : queue.settleMs);
    else if (done?.finished) queue.owes = undefined;
    else if (queue.owes !== undefined) queue.owe(maxPauseMs);
    return done?.pauseMs ?? 0;
  };

  const drain = async (queue: TagQueue): Promise<void> => {
    while (
      await queue.turn((tries) => Math.min(maxPauseMs, firstPauseMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2))
    ) {
      const least = queue.owes === undefined ? 1 : ownWorkMs;
      const time = Math.max(least, ...queue.waiters.map((waiter) => remainingMs(waiter.context)));
      const owned = openContext(queue.waiters[0]?.context.requestId ?? '', time);
      const unwritten = (): readonly Waiter[] => queue.waiters.filter((waiter) => waiter.due === undefined);
      try {
        const owes = queue.owes !== undefined && queue.owes.at <= performance.now();
        const pauseMs =
          lease !== undefined && (owes || unwritten().length > 0)
            ? await leasedRound(queue, owned.context, lease)
            : (await round(queue, owned.context)).pauseMs;
        if (pauseMs > 0) await pause(pauseMs, owned.context);
      } catch (error) {
        // What was written under a lease needs no other one to settle.
        const leaseless = error instanceof CountersignError && error.reason === 'LEASE_UNAVAILABLE';
        queue.reject(leaseless ? unwritten() : queue.waiters, error);
        if (queue.owes !== undefined) queue.owe(maxPauseMs);
      } finally {
        owned.dispose();
      }
    }
  };

  return async (target, tag, entry, context) => {
    assertLive(context);
    const { waiter, answer } = queues.join(target, tag, entry, settleMs, context, drain);
    try {
      return await waitFor(answer, context);
    } catch (error) {
      const { stored, attempted } = waiter;
      const digest = stored ?? attempted;
      if (digest === undefined) throw error;
      const where = `${repositoryName(target)}@${digest}`;
      const said =
        stored === undefined
          ? `It may have been written as ${where} at tag ${tag}, which could not be found out.`
          : `It was written as ${where} at tag ${tag}, but it is not certain that it lies there still.`;
      throw withStored(error, where, said);
    }
  };
};

import { type Context, remainingMs } from '../model/context.ts';
import { type Digest, isDigest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { Blobs } from './blobs.ts';
import type { ConditionalPut } from './conditional-put.ts';
import { mayHaveHappened, tagContended } from './errors.ts';
import type { Held, Lease } from './lease.ts';
import type { ManifestDescriptor, StoredManifest } from './manifest.ts';
import type { Manifests } from './manifests.ts';
import { isAmong, type TagLayout, unique } from './tag-layout.ts';
import type { TagQueue, Waiter } from './tag-queue.ts';
import type { Target } from './target.ts';

export type TagPorts = {
  readonly manifests: Manifests;
  readonly blobs: Blobs;
  readonly conditional: ConditionalPut;
  /** Where there is one, nobody else writes between a reading and its write, and nothing has to settle while it is certain. */
  readonly lease: Lease | undefined;
  /** As `Transport.mayRetry`: asked before a write that failed is made again. */
  readonly mayRetry: (target: Target) => boolean;
};

/**
 * What a round did: the manifest that it stored, or one that it may have stored. `finished`: nothing is left to be written.
 * `pauseMs`: how long to leave the registry alone.
 */
export type Done = { stored: Digest | undefined; open: Digest | undefined; finished: boolean; pauseMs: number };

/**
 * One turn at a tag: reads, judges by it what was written before, and writes what is missing; where there are leases, only with
 * one. Throws what the reading failed with; a write that failed is told to those whose entries it held.
 */
export type TagRound = (queue: TagQueue, context: Context, held?: Held) => Promise<Done>;

const maxWrites = 10;
const maxFailures = 3;

/** `settleMs`: as `createTagUpdater`. */
export const createTagRound = (ports: TagPorts, layout: TagLayout, settleMs: number): TagRound => {
  const { manifests, blobs, conditional, lease } = ports;

  const round: TagRound = async (queue, context, held) => {
    const { target, tag } = queue;
    const done: Done = { stored: undefined, open: undefined, finished: false, pauseMs: 0 };
    const readAt = performance.now();
    const current = await manifests.get(target, tag, context);
    const listed = layout.list(current, target);
    const isThere = (entry: ManifestDescriptor): boolean => isAmong(layout, listed, entry);
    if (queue.refusedOver === stateOf(current)) conditional.contradict(target);
    queue.refusedOver = undefined;

    const wasLost = judge(queue, current, isThere, readAt);
    if (lease !== undefined && held === undefined) return done;
    if (held !== undefined && queue.owes !== undefined) await recall(queue, current, held);
    const unwritten = queue.waiters.filter((waiter) => waiter.due === undefined);
    // The very list that was written is still there, of a thousand none need be looked for.
    const isWritten = current === undefined || queue.written === listed;
    const beside = isWritten ? [] : queue.written.filter((entry) => !isThere(entry));
    if (unwritten.length + beside.length === 0) return { ...done, finished: true };
    // Others are busy, or the registry is slow: a pause first, and then another reading.
    if (wasLost) return done;
    queue.reject(
      unwritten.filter((waiter) => waiter.tries >= maxWrites),
      tagContended(target, tag, maxWrites),
    );
    const writing = unwritten.filter((waiter) => waiter.tries < maxWrites);
    const added = unique(layout, [...writing.map((waiter) => waiter.entry), ...beside]);
    if (added.length === 0) return done;
    try {
      await write({ queue, current, added, writing, readAt, context, held, done });
      done.finished = done.stored !== undefined;
    } catch (error) {
      for (const waiter of writing) waiter.failures++;
      const wait = error instanceof CountersignError ? error.retryAfterMs : undefined;
      const again = writing.filter((waiter) => waiter.failures < maxFailures);
      // A failure that may pass is only waited out: whether it was stored after all is seen by reading again.
      if (wait === undefined || wait >= remainingMs(context) || !ports.mayRetry(queue.target))
        queue.reject(writing, error);
      else {
        queue.reject(
          writing.filter((waiter) => !again.includes(waiter)),
          error,
        );
        done.pauseMs = wait;
      }
    }
    return done;
  };

  /** What others wrote while the lease was lost counts as seen beside ours. */
  const recall = async (queue: TagQueue, current: StoredManifest | undefined, held: Held): Promise<void> => {
    for (const noted of await held.noted()) {
      if (!isDigest(noted) || noted === current?.digest) continue;
      const theirs = await manifests.get(queue.target, noted, held.context);
      if (theirs === undefined) continue;
      queue.written = unique(layout, [...queue.written, ...layout.list(theirs, queue.target)]);
    }
  };

  /** Answers those whose entry is there and has settled. Was one lost that had been written? */
  const judge = (
    queue: TagQueue,
    current: StoredManifest | undefined,
    isThere: (entry: ManifestDescriptor) => boolean,
    readAt: number,
  ): boolean => {
    const { target } = queue;
    const settled: Waiter[] = [];
    let wasLost = false;
    for (const waiter of queue.waiters) {
      if (!isThere(waiter.entry)) {
        if (waiter.due === undefined) continue;
        // Refused or stored for good, that is what a condition means: who overwrites it sends none, or the registry looks at none.
        if (waiter.due <= waiter.writtenAt) conditional.contradict(target);
        waiter.due = undefined;
        wasLost = true;
      } else {
        // Somebody, or this very waiter in a request that seemed to fail, has written it just now or long ago.
        waiter.due ??= readAt + (conditional.honoured(target) ? 0 : queue.settleMs);
        if (waiter.due <= readAt) settled.push(waiter);
      }
    }
    if (current !== undefined) queue.resolve(settled, current.digest);
    return wasLost;
  };

  const write = async ({ queue, current, added, writing, readAt, context, held, done }: Writing): Promise<void> => {
    const { target, tag } = queue;
    const next = layout.build(current, added, target);
    for (const blob of next.blobs) await blobs.ensure(target, blob, context);
    const isCertain = held !== undefined && (await held.confirm()) === 'certain';
    const age = performance.now() - readAt;
    if (!isCertain && age > queue.settleMs / 2 && settleMs > 0 && !conditional.honoured(target)) {
      // Once is a retry, or a blob that need not be sent again. Twice: the registry is slower than was thought, for the others as well.
      if (++queue.oldReadings > 1) queue.settleMs = 3 * age;
      return;
    }
    queue.oldReadings = 0;
    const { digest } = next;
    for (const waiter of writing) {
      waiter.tries++;
      waiter.attempted = digest;
    }
    done.open = digest;
    const outcome = await conditional.put(target, tag, next, current, context).catch((error: unknown) => {
      if (!mayHaveHappened(error)) {
        done.open = undefined;
        for (const waiter of writing) waiter.attempted = undefined;
      }
      throw error;
    });
    done.open = undefined;
    for (const waiter of writing) waiter.attempted = undefined;
    if (outcome === 'changed') {
      queue.refusedOver = stateOf(current);
      return;
    }
    done.stored = digest;
    queue.written = next.entries;
    const writtenAt = performance.now();
    const settles = settleMs > 0 ? Math.max(queue.settleMs, 2 * (writtenAt - readAt)) : 0;
    for (const waiter of writing) {
      waiter.stored = digest;
      waiter.writtenAt = writtenAt;
      waiter.due = writtenAt + (outcome === 'guarded' ? 0 : settles);
    }
  };

  return round;
};

type Writing = {
  readonly queue: TagQueue;
  readonly current: StoredManifest | undefined;
  readonly added: readonly ManifestDescriptor[];
  readonly writing: readonly Waiter[];
  readonly readAt: number;
  readonly context: Context;
  readonly held: Held | undefined;
  readonly done: Done;
};

const stateOf = (current: StoredManifest | undefined): Digest | 'absent' => current?.digest ?? 'absent';

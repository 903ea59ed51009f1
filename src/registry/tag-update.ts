import { assertLive, type Context, openContext, remainingMs } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { repositoryName } from '../model/subject.ts';
import { waitFor } from '../model/wait.ts';
import { pause } from '../net/retry.ts';
import type { Blobs } from './blobs.ts';
import type { ConditionalPut } from './conditional-put.ts';
import { mayHaveHappened, withStored } from './errors.ts';
import type { Lease } from './lease.ts';
import type { ManifestDescriptor, StoredManifest } from './manifest.ts';
import type { Manifests } from './manifests.ts';
import type { TagLayout } from './tag-layout.ts';
import { createTagQueues, type TagQueue, type Waiter } from './tag-queue.ts';
import type { Target } from './target.ts';

/** Adds an entry to the manifest at a tag; answers with the digest of a manifest that holds it. */
export type TagUpdater = (target: Target, tag: string, entry: ManifestDescriptor, context: Context) => Promise<Digest>;

export type TagPorts = {
  readonly manifests: Manifests;
  readonly blobs: Blobs;
  readonly conditional: ConditionalPut;
  /** Where there is one, nobody else writes between a reading and its write, and nothing has to settle. */
  readonly lease: Lease | undefined;
};

const maxWrites = 10;
const maxFailures = 3;
const firstPauseMs = 40;
const maxPauseMs = 1_000;

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
 * An entry is written at most 10 times. Throws what the registry failed with; `unavailable`, reason `TAG_CONTENDED`, when
 * others keep overwriting. An error, the end of the context included, names in its metadata (`stored`) the manifest in which
 * the entry was written, or may have been: it may lie there still.
 */
export const createTagUpdater = (ports: TagPorts, layout: TagLayout, configuredSettleMs: number): TagUpdater => {
  const { manifests, blobs, conditional, lease } = ports;
  const settleMs = lease === undefined ? configuredSettleMs : 0;
  const queues = createTagQueues();

  /** Reads, judges by it what was written before, and writes what is missing. */
  const round = async (queue: TagQueue, context: Context): Promise<void> => {
    const { target, tag } = queue;
    const readAt = performance.now();
    const current = await manifests.get(target, tag, context);
    const listed = layout.list(current, target);
    const isThere = (entry: ManifestDescriptor): boolean => listed.some((there) => layout.same(there, entry));
    if (queue.refusedOver === stateOf(current)) conditional.contradict(target);
    queue.refusedOver = undefined;

    const wasLost = judge(queue, current, isThere, readAt);
    const unwritten = queue.waiters.filter((waiter) => waiter.due === undefined);
    const beside = current === undefined ? [] : queue.written.filter((entry) => !isThere(entry));
    if (unwritten.length + beside.length === 0) return;
    // Others are busy, or the registry is slow: a pause first, and then another reading.
    if (wasLost) return;
    queue.reject(
      unwritten.filter((waiter) => waiter.tries >= maxWrites),
      contended(target, tag),
    );
    const writing = unwritten.filter((waiter) => waiter.tries < maxWrites);
    const added = unique(layout, [...writing.map((waiter) => waiter.entry), ...beside]);
    if (added.length === 0) return;
    try {
      await write(queue, current, [...listed, ...added], writing, readAt, context);
    } catch (error) {
      for (const waiter of writing) waiter.failures++;
      const wait = error instanceof CountersignError ? error.retryAfterMs : undefined;
      const again = writing.filter((waiter) => waiter.failures < maxFailures);
      // A failure that may pass is only waited out: whether it was stored after all is seen by reading again.
      if (wait === undefined || wait >= remainingMs(context)) queue.reject(writing, error);
      else {
        queue.reject(
          writing.filter((waiter) => !again.includes(waiter)),
          error,
        );
        await pause(wait, context);
      }
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

  const write = async (
    queue: TagQueue,
    current: StoredManifest | undefined,
    entries: readonly ManifestDescriptor[],
    writing: readonly Waiter[],
    readAt: number,
    context: Context,
  ): Promise<void> => {
    const { target, tag } = queue;
    const next = layout.build(current, entries, target);
    for (const blob of next.blobs) await blobs.ensure(target, blob, context);
    const age = performance.now() - readAt;
    if (age > queue.settleMs / 2 && settleMs > 0 && !conditional.honoured(target)) {
      // Once is a retry, or a blob that need not be sent again. Twice: the registry is slower than was thought, for the others as well.
      if (++queue.oldReadings > 1) queue.settleMs = 3 * age;
      return;
    }
    queue.oldReadings = 0;
    const digest = sha256(next.body);
    for (const waiter of writing) {
      waiter.tries++;
      waiter.attempted = digest;
    }
    const outcome = await conditional.put(target, tag, next, current, context).catch((error: unknown) => {
      if (!mayHaveHappened(error)) for (const waiter of writing) waiter.attempted = undefined;
      throw error;
    });
    for (const waiter of writing) waiter.attempted = undefined;
    if (outcome === 'changed') {
      queue.refusedOver = stateOf(current);
      return;
    }
    queue.written = entries;
    const writtenAt = performance.now();
    const settles = settleMs > 0 ? Math.max(queue.settleMs, 2 * (writtenAt - readAt)) : 0;
    for (const waiter of writing) {
      waiter.stored = digest;
      waiter.writtenAt = writtenAt;
      waiter.due = writtenAt + (outcome === 'guarded' ? 0 : settles);
    }
  };

  const drain = async (queue: TagQueue): Promise<void> => {
    while (
      await queue.turn((tries) => Math.min(maxPauseMs, firstPauseMs * 2 ** (tries - 1)) * (0.5 + Math.random() / 2))
    ) {
      const time = Math.max(1, ...queue.waiters.map((waiter) => remainingMs(waiter.context)));
      const owned = openContext(queue.waiters[0]?.context.requestId ?? '', time);
      try {
        const work = (context: Context) => round(queue, context);
        await (lease?.hold(`${repositoryName(queue.target)}:${queue.tag}`, owned.context, work) ?? work(owned.context));
      } catch (error) {
        queue.reject(queue.waiters, error);
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

const stateOf = (current: StoredManifest | undefined): Digest | 'absent' => current?.digest ?? 'absent';

const unique = (layout: TagLayout, entries: readonly ManifestDescriptor[]): readonly ManifestDescriptor[] => {
  const kept: ManifestDescriptor[] = [];
  for (const entry of entries) if (!kept.some((earlier) => layout.same(earlier, entry))) kept.push(entry);
  return kept;
};

const contended = (target: Target, tag: string): CountersignError =>
  new CountersignError(
    'unavailable',
    'TAG_CONTENDED',
    `Tag ${tag} of ${repositoryName(target)} was overwritten by others after every one of ${maxWrites} tries; try again.`,
    { retryAfterMs: 1_000, metadata: { registry: target.registry, repository: target.repository, tag } },
  );

import { assertLive, type Context, openContext, remainingMs } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { waitFor } from '../model/wait.ts';
import { pause } from '../net/retry.ts';
import type { Blobs } from './blobs.ts';
import type { StoredManifest } from './manifest.ts';
import type { Condition, Manifests } from './manifests.ts';
import type { Target } from './target.ts';

/** How entries are kept in the manifest at a tag. Pure. */
export type TagLayout<Entry> = {
  /** Which of the entries are not in the manifest (undefined: nothing lies at the tag). Throws when it is of another kind. */
  missing(current: StoredManifest | undefined, entries: readonly Entry[], target: Target): readonly Entry[];
  /** The manifest with the entries added, and the blobs that it needs besides those of the entries. */
  add(
    current: StoredManifest | undefined,
    entries: readonly Entry[],
    target: Target,
  ): { readonly mediaType: string; readonly body: Uint8Array; readonly blobs: readonly Uint8Array[] };
};

/** Adds an entry to the manifest at a tag; answers with the digest of a manifest that holds it. */
export type TagUpdater<Entry> = (target: Target, tag: string, entry: Entry, context: Context) => Promise<Digest>;

type Waiter<Entry> = {
  readonly entry: Entry;
  readonly context: Context;
  resolve(digest: Digest): void;
  reject(error: unknown): void;
};

const maxWrites = 8;
const maxFailures = 3;
const firstPauseMs = 40;

/**
 * Read, add, write, read again: until what is read holds every entry, at most 8 times. Writes are conditional (`If-Match`,
 * `If-None-Match: *`), where the registry honours it. All entries for one tag that wait while a write is under way go into
 * the next one together, so that writers of one process never overwrite each other. Throws what the registry failed with, or
 * `unavailable`, reason `TAG_CONTENDED`, when others keep overwriting.
 */
export const createTagUpdater = <Entry>(
  manifests: Manifests,
  blobs: Blobs,
  layout: TagLayout<Entry>,
): TagUpdater<Entry> => {
  const queues = new Map<string, Waiter<Entry>[]>();

  /** One write; a failure that may pass is only waited out: whether it was stored after all is seen by reading again. */
  const writeOnce = async (
    current: StoredManifest | undefined,
    entries: readonly Entry[],
    target: Target,
    tag: string,
    mayFail: boolean,
    context: Context,
  ): Promise<void> => {
    const next = layout.add(current, entries, target);
    for (const blob of next.blobs) await blobs.ensure(target, blob, context);
    try {
      await manifests.put(target, tag, next, conditionOf(current), context);
    } catch (error) {
      const wait = error instanceof CountersignError ? error.retryAfterMs : undefined;
      if (!mayFail || wait === undefined || wait >= remainingMs(context)) throw error;
      await pause(wait, context);
    }
  };

  const write = async (target: Target, tag: string, entries: readonly Entry[], context: Context): Promise<Digest> => {
    for (let round = 1; ; round++) {
      const current = await manifests.get(target, tag, context);
      const missing = layout.missing(current, entries, target);
      if (current !== undefined && missing.length === 0) return current.digest;
      if (round > maxWrites) throw contended(target, tag);
      // The first reading after a write is at once; if that write is not to be seen, others are busy or the registry is slow.
      if (round > 1) await pause(firstPauseMs * 2 ** (round - 2) * (0.5 + Math.random() / 2), context);
      await writeOnce(current, missing, target, tag, round < maxFailures, context);
    }
  };

  const drain = async (key: string, target: Target, tag: string): Promise<void> => {
    for (let queue = queues.get(key); queue !== undefined && queue.length > 0; ) {
      const batch = queue.splice(0).filter((waiter) => !waiter.context.signal.aborted);
      if (batch.length === 0) continue;
      const time = Math.max(1, ...batch.map((waiter) => remainingMs(waiter.context)));
      const owned = openContext(batch[0]?.context.requestId ?? '', time);
      try {
        const digest = await write(
          target,
          tag,
          batch.map((waiter) => waiter.entry),
          owned.context,
        );
        for (const waiter of batch) waiter.resolve(digest);
      } catch (error) {
        for (const waiter of batch) waiter.reject(error);
      } finally {
        owned.dispose();
      }
    }
    queues.delete(key);
  };

  return async (target, tag, entry, context) => {
    assertLive(context);
    const key = `${target.registry}/${target.repository}:${tag}`;
    const result = new Promise<Digest>((resolve, reject) => {
      const waiter = { entry, context, resolve, reject };
      const queue = queues.get(key);
      if (queue !== undefined) {
        queue.push(waiter);
        return;
      }
      queues.set(key, [waiter]);
      void drain(key, target, tag);
    });
    return waitFor(result, context);
  };
};

const conditionOf = (current: StoredManifest | undefined): Condition | undefined => {
  if (current === undefined) return { ifNoneMatch: '*' };
  return current.etag === undefined ? undefined : { ifMatch: current.etag };
};

const contended = (target: Target, tag: string): CountersignError =>
  new CountersignError(
    'unavailable',
    'TAG_CONTENDED',
    `Tag ${tag} of ${target.registry}/${target.repository} was overwritten by others after every one of ${maxWrites} tries; try again.`,
    { retryAfterMs: 1_000, metadata: { registry: target.registry, repository: target.repository, tag } },
  );

import type { AttestCommand, SignCommand } from '../model/command.ts';
import { assertLive, type Context, openPart } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { SignResult } from '../model/result.ts';
import { withinContext } from '../model/wait.ts';
import { withSpan } from '../telemetry/spans.ts';

/** What one item asks for. */
export type BatchWork =
  | { readonly verb: 'sign'; readonly command: SignCommand }
  | { readonly verb: 'attest'; readonly command: AttestCommand };

/** One item under the caller's own name for it; `work` is the error when what it asks for cannot be understood. */
export type BatchItem = { readonly reference: string; readonly work: BatchWork | CountersignError };

/** A decoded SignBatch request. */
export type BatchCommand = { readonly items: readonly BatchItem[] };

/** How one item ended. */
export type BatchOutcome = {
  readonly reference: string;
  /** Its place in the command. */
  readonly index: number;
  readonly verb: BatchWork['verb'] | undefined;
  /** `<id of the batch>.<index>`: at most four characters longer than that id. */
  readonly requestId: string;
  readonly ms: number;
  readonly outcome: SignResult | CountersignError;
};

/** What a batch may use. */
export type BatchTerms = {
  /** Places beside its own, in which it works on one item at a time: it takes those that nobody else wants now. */
  readonly places: { takeFree(): boolean; release(): void };
  /** The longest that one item may take, milliseconds. */
  readonly maxItemMs: number;
  /** Aborted once nothing more is to be begun because the service stops. */
  readonly stopping: AbortSignal;
};

/** As many as the outbound client has connections to one registry: more would only wait for those. */
const maxUnderWay = 32;

/**
 * Works on the items, several at once, and yields how each ended as it gets done. At most `maxUnderWay` are under way or not
 * yet taken by the reader, so that a slow one holds up the work instead of piling up its results. When the reader leaves,
 * nothing more is begun, and the iterator returns once what is under way has ended. Items that have not begun when the
 * deadline passes or the service stops end as `deadline_exceeded`, and `unavailable` with reason `SHUTTING_DOWN`.
 * Throws the context's reason once the caller has cancelled; nothing else.
 */
export async function* signBatch(
  { items }: BatchCommand,
  work: (work: BatchWork, context: Context) => Promise<SignResult>,
  { places, maxItemMs, stopping }: BatchTerms,
  context: Context,
): AsyncGenerator<BatchOutcome, void, undefined> {
  const ended: BatchOutcome[] = [];
  const underWay = new Set<Promise<void>>();
  let wake = (): void => undefined;
  let ownPlaceTaken = false;

  /** Answers how to give the place back; undefined when there is none. */
  const takePlace = (): (() => void) | undefined => {
    if (ownPlaceTaken) return places.takeFree() ? () => places.release() : undefined;
    ownPlaceTaken = true;
    return () => {
      ownPlaceTaken = false;
    };
  };

  /** Begins the item or says why it does not; false when there is no place for it. */
  const begin = ({ reference, work: wanted }: BatchItem, index: number): boolean => {
    const named = { reference, index, requestId: `${context.requestId}.${index}` };
    if (wanted instanceof CountersignError) {
      ended.push({ ...named, verb: undefined, ms: 0, outcome: wanted });
      return true;
    }
    const refusal = reasonToStop(context, stopping);
    if (refusal !== undefined) {
      ended.push({ ...named, verb: wanted.verb, ms: 0, outcome: refusal });
      return true;
    }
    const givePlaceBack = takePlace();
    if (givePlaceBack === undefined) return false;
    const started = performance.now();
    const running = settle(wanted, named.requestId).then((outcome) => {
      ended.push({ ...named, verb: wanted.verb, ms: performance.now() - started, outcome });
      givePlaceBack();
      underWay.delete(running);
      wake();
    });
    underWay.add(running);
    return true;
  };

  const settle = async (wanted: BatchWork, requestId: string): Promise<SignResult | CountersignError> => {
    const owned = openPart(context, requestId, maxItemMs);
    try {
      return await withSpan('item', { 'countersign.request_id': requestId, 'countersign.verb': wanted.verb }, () =>
        withinContext(work(wanted, owned.context), owned.context),
      );
    } catch (caught) {
      return toCountersignError(caught);
    } finally {
      owned.dispose();
    }
  };

  let next = 0;
  try {
    for (;;) {
      if (context.signal.reason?.code === 'cancelled') throw context.signal.reason;
      for (let item = items[next]; item !== undefined; item = items[next]) {
        if (underWay.size + ended.length >= maxUnderWay || !begin(item, next)) break;
        next += 1;
      }
      const outcome = ended.shift();
      if (outcome !== undefined) yield outcome;
      else if (underWay.size === 0) return;
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
    }
  } finally {
    await Promise.all(underWay);
  }
}

const reasonToStop = (context: Context, stopping: AbortSignal): CountersignError | undefined => {
  if (stopping.aborted) return shuttingDown();
  try {
    assertLive(context);
  } catch (caught) {
    return toCountersignError(caught);
  }
  return undefined;
};

/** Another replica takes it at once; this one is gone within seconds. */
const shuttingDown = (): CountersignError =>
  new CountersignError('unavailable', 'SHUTTING_DOWN', 'The service shuts down; nothing was done, send it again.', {
    retryAfterMs: 1_000,
  });

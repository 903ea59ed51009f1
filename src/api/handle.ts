import type { DescMessage, Message } from '@bufbuild/protobuf';
import type { Caller } from '../model/caller.ts';
import { type Context, onBehalfOf, openContext, type OwnedContext, remainingMs } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import { withinContext } from '../model/wait.ts';
import { recordLeg } from '../telemetry/metrics.ts';
import { extractParent, tracingEnabled, withSpan } from '../telemetry/spans.ts';
import { conclude, type EdgeLogger, type Notes } from './conclude.ts';
import { createLimiter, type Limiter } from './limiter.ts';
import type { Limits } from './limits.ts';
import type { Decoder, Method, StreamMethod } from './methods.ts';
import { requestIdFrom } from './request-id.ts';
import type { Service } from './service.ts';

/** What both edges share. */
export type Edge = {
  readonly service: Service;
  /** Places for requests. */
  readonly limiter: Limiter;
  /** Places for batches; each item beyond the first at a time takes a free one for requests as well. */
  readonly batchLimiter: Limiter;
  readonly logger: EdgeLogger;
  /** The longest a request may take, and an item of a batch, in milliseconds. */
  readonly maxRequestMs: number;
  /** The longest a batch may take, in milliseconds. */
  readonly maxBatchMs: number;
  /** Aborted when batches are to begin nothing more since the service stops. */
  readonly stopping: AbortSignal;
};

/** The edge of one process. `stopping`: aborted when batches are to begin nothing more. */
export const createEdge = (service: Service, logger: EdgeLogger, limits: Limits, stopping: AbortSignal): Edge => ({
  service,
  limiter: createLimiter(limits.maxInFlight, limits.maxQueued),
  batchLimiter: createLimiter(limits.maxBatches, limits.maxBatches),
  logger,
  maxRequestMs: limits.maxRequestMs,
  maxBatchMs: limits.maxBatchMs,
  stopping,
});

/** One request as its transport received it. `Written` is what the transport sends: bytes, JSON text. */
export type Exchange<Written> = {
  readonly transport: 'grpc' | 'rest';
  /** Every value of a header or metadata key (lower case). */
  header(name: string): readonly string[];
  /** Milliseconds that the caller gives; Infinity when it does not say. */
  readonly timeoutMs: number;
  /** Is called once, before anything else; `cancel` does nothing after the answer. */
  onCancel(cancel: () => void): void;
  /** The request's body as a command; throws `invalid_argument`. */
  decode<Command>(decoder: Decoder<Command>): Command;
  write(schema: DescMessage, message: Message): Written;
};

/** As an Exchange, for an answer in parts. */
export type StreamExchange<Written> = Exchange<Written> & {
  /** Sends one part; resolves when another may come, rejects when the reader has left or takes nothing any more. */
  send(written: Written, requestId: string): Promise<void>;
};

export type Answer<Written> = { readonly requestId: string } & (
  | { readonly written: Written; readonly error: undefined }
  | { readonly written: undefined; readonly error: CountersignError }
);

const bearerPattern = /^Bearer +([^\s]+) *$/i;

const bearerOf = (headers: readonly string[]): string | undefined => {
  if (headers.length > 1) {
    throw new CountersignError('unauthenticated', 'SEVERAL_CREDENTIALS', 'Send exactly one authorization header.');
  }
  return headers[0] === undefined ? undefined : bearerPattern.exec(headers[0])?.[1];
};

/** One request while it is worked on. */
type Work<Command> = {
  readonly edge: Edge;
  readonly decoder: Decoder<Command>;
  readonly exchange: Exchange<unknown>;
  readonly context: Context;
  readonly notes: Notes;
};

/** A place in the queue, then authenticate, decode, `run`: the life of every request, in this order. */
const admit = async <Command, T>(
  limiter: Limiter,
  { edge, decoder, exchange, context, notes }: Work<Command>,
  run: (command: Command, caller: Caller, context: Context) => Promise<T>,
): Promise<T> => {
  const turn = limiter.acquire(context);
  if (turn !== undefined) {
    const started = performance.now();
    await turn;
    notes.queueMs = performance.now() - started;
  }
  try {
    recordLeg('queue', notes.queueMs / 1000);
    const caller = await edge.service.authenticate({ bearer: bearerOf(exchange.header('authorization')) }, context);
    notes.caller = caller;
    const command = exchange.decode(decoder);
    const idChosen = exchange.header('x-request-id')[0] === context.requestId;
    return await run(command, caller, { ...onBehalfOf(context, `${caller.issuer} ${caller.subject}`), idChosen });
  } finally {
    limiter.release();
  }
};

/** How much earlier than here a deadline may pass at the client, milliseconds: the request's way and a rounded timeout. */
const clientLeadMs = 50;

/** Opens the context of a request and runs it inside a span while the context lives; one metric and one log line at its end. */
const live = async <T>(
  edge: Edge,
  method: Method | StreamMethod,
  exchange: Exchange<unknown>,
  limits: { readonly maxMs: number; readonly graceMs?: number },
  run: (owned: OwnedContext, notes: Notes) => Promise<T>,
): Promise<Answer<T>> => {
  const requestId = requestIdFrom(exchange.header('x-request-id')[0]);
  const request = { transport: exchange.transport, method: method.name, requestId, started: performance.now() };
  const owned = openContext(requestId, Math.min(exchange.timeoutMs, limits.maxMs));
  const notes: Notes = { caller: undefined, queueMs: 0 };
  let done = false;
  exchange.onCancel(() => {
    // A gRPC client whose deadline passes hangs up a moment before ours passes: that is the deadline, no change of mind.
    if (!done && remainingMs(owned.context) > clientLeadMs) owned.cancel();
  });
  try {
    const within = (): Promise<T> => withinContext(run(owned, notes), owned.context, limits.graceMs);
    const written = tracingEnabled() ? await traced(method, exchange, requestId, within) : await within();
    done = true;
    conclude(edge.logger, request, undefined, notes);
    return { requestId, written, error: undefined };
  } catch (caught) {
    done = true;
    const error = toCountersignError(caught);
    conclude(edge.logger, request, error, notes);
    return { requestId, written: undefined, error };
  } finally {
    owned.dispose();
  }
};

/**
 * Handles one request of one method, for both edges: opens its context (id, deadline), waits for its turn, authenticates,
 * decodes, calls, encodes, and writes one span, one metric and one log line. Never rejects: a failure is in the answer.
 */
export const handle = <Written>(edge: Edge, method: Method, exchange: Exchange<Written>): Promise<Answer<Written>> =>
  live(edge, method, exchange, { maxMs: edge.maxRequestMs }, ({ context }, notes) =>
    admit(edge.limiter, { edge, decoder: method, exchange, context, notes }, async (command, caller, own) => {
      const result = await method.call(edge.service, command, caller, own);
      return exchange.write(method.desc.output, method.encode(result, caller, context.requestId));
    }),
  );

/** How long a batch whose deadline has passed may take to answer the items that it did not begin, milliseconds. */
const streamGraceMs = 5_000;

/**
 * As `handle`, for a method that answers in parts: each is sent as it comes, and the next is asked for once the reader has
 * room for it. One more metric and log line a part. The answer says how the stream ends; nothing is sent after it.
 */
export const handleStream = async <Written>(
  edge: Edge,
  method: StreamMethod,
  exchange: StreamExchange<Written>,
): Promise<Answer<void>> => {
  const { transport } = exchange;
  const terms = { places: edge.limiter, maxItemMs: edge.maxRequestMs, stopping: edge.stopping };
  const limits = { maxMs: edge.maxBatchMs, graceMs: streamGraceMs };
  let answered = false;
  const answer = await live(edge, method, exchange, limits, (owned, notes) => {
    const { context } = owned;
    return admit(
      edge.batchLimiter,
      { edge, decoder: method, exchange, context, notes },
      async (command, caller, own) => {
        notes.items = { ok: 0, failed: 0 };
        for await (const part of method.call(edge.service, command, caller, own, terms)) {
          const { name, requestId, ms, error } = method.summary(part);
          notes.items[error === undefined ? 'ok' : 'failed'] += 1;
          const started = performance.now() - ms;
          conclude(edge.logger, { transport, method: name, requestId, started }, error, { caller, queueMs: 0 });
          if (answered) return;
          const written = exchange.write(method.desc.output, method.encode(part, caller));
          await exchange.send(written, context.requestId).catch((caught: unknown) => {
            // Nobody reads any more: what is under way need not go on.
            owned.cancel();
            throw caught;
          });
        }
      },
    );
  });
  answered = true;
  return answer;
};

const traced = <T>(
  method: Method | StreamMethod,
  exchange: Exchange<unknown>,
  requestId: string,
  run: () => Promise<T>,
): Promise<T> => {
  const carrier = { traceparent: exchange.header('traceparent')[0], tracestate: exchange.header('tracestate')[0] };
  const attributes = {
    'rpc.system.name': exchange.transport === 'grpc' ? 'grpc' : 'http',
    'rpc.method': `${method.desc.parent.typeName}/${method.name}`,
    'countersign.request_id': requestId,
  };
  return withSpan(method.name, attributes, run, extractParent(carrier));
};

import type { DescMessage, Message } from '@bufbuild/protobuf';
import type { Caller } from '../model/caller.ts';
import { type Context, onBehalfOf, openContext, remainingMs } from '../model/context.ts';
import { CountersignError, type ErrorCode, toCountersignError } from '../model/error.ts';
import { recordLeg, recordRequest } from '../telemetry/metrics.ts';
import { extractParent, type Span, tracingEnabled, withSpan } from '../telemetry/spans.ts';
import type { Limiter } from './limiter.ts';
import type { Method } from './methods.ts';
import { requestIdFrom } from './request-id.ts';
import type { Service } from './service.ts';

/** What the edges need of a logger; a pino logger fits. */
export type EdgeLogger = {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
};

/** What both edges share. */
export type Edge = {
  readonly service: Service;
  readonly limiter: Limiter;
  readonly logger: EdgeLogger;
  /** The longest a request may take, in milliseconds. */
  readonly maxRequestMs: number;
};

/** One request as its transport received it. `Written` is what the transport sends: bytes, JSON text. */
export type Exchange<Written> = {
  readonly transport: 'grpc' | 'rest';
  /** Every value of a header or metadata key (lower case). */
  header(name: string): readonly string[];
  /** Milliseconds that the caller gives; Infinity when it does not say. */
  readonly timeoutMs: number;
  /** Is called once, before anything else; `cancel` does nothing after the answer. */
  onCancel(cancel: () => void): void;
  /** The request's body as a message; throws `invalid_argument`. */
  read(schema: DescMessage): Message;
  write(schema: DescMessage, message: Message): Written;
};

export type Answer<Written> = { readonly requestId: string } & (
  | { readonly written: Written; readonly error: undefined }
  | { readonly written: undefined; readonly error: CountersignError }
);

/** Filled while a request is worked on, for its line in the log. */
type Notes = { caller: Caller | undefined; queueMs: number };

const bearerPattern = /^Bearer +([^\s]+) *$/i;

const bearerOf = (headers: readonly string[]): string | undefined => {
  if (headers.length > 1) {
    throw new CountersignError('unauthenticated', 'SEVERAL_CREDENTIALS', 'Send exactly one authorization header.');
  }
  return headers[0] === undefined ? undefined : bearerPattern.exec(headers[0])?.[1];
};

/** A place in the queue, then authenticate, decode, call, encode: the life of every request, in this order. */
const work = async <Written>(
  edge: Edge,
  method: Method,
  exchange: Exchange<Written>,
  context: Context,
  notes: Notes,
): Promise<Written> => {
  const turn = edge.limiter.acquire(context);
  if (turn !== undefined) {
    const started = performance.now();
    await turn;
    notes.queueMs = performance.now() - started;
  }
  try {
    recordLeg('queue', notes.queueMs / 1000);
    const caller = await edge.service.authenticate({ bearer: bearerOf(exchange.header('authorization')) }, context);
    notes.caller = caller;
    const command = method.decode(exchange.read(method.desc.input));
    const own = onBehalfOf(context, `${caller.issuer} ${caller.subject}`);
    const result = await method.call(edge.service, command, caller, own);
    return exchange.write(method.desc.output, method.encode(result, caller, context.requestId));
  } finally {
    edge.limiter.release();
  }
};

/** How long a request that has ended may take to say what it leaves behind, such as one of two signatures: milliseconds. */
const reportMs = 500;

/** Ends with the context even when some leg does not heed its signal; the place in the queue stays taken until it does. */
const withinContext = <T>(working: Promise<T>, { signal }: Context): Promise<T> =>
  new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => setTimeout(() => reject(signal.reason), reportMs), { once: true });
    working.then(resolve, (error) => {
      const told = error instanceof CountersignError && error.code === signal.reason?.code;
      reject(signal.aborted && !told ? signal.reason : error);
    });
  });

/** How much earlier than here a deadline may pass at the client, milliseconds: the request's way and a rounded timeout. */
const clientLeadMs = 50;

const ownFaults: ReadonlySet<ErrorCode> = new Set(['internal', 'data_loss']);
const troubles: ReadonlySet<ErrorCode> = new Set([
  'unavailable',
  'deadline_exceeded',
  'resource_exhausted',
  'failed_precondition', // a disabled key, a credential that a registry refuses: the operator's to mend
]);

/** One line a request: no token, no payload. */
const log = (logger: EdgeLogger, fields: Record<string, unknown>, error: CountersignError | undefined): void => {
  if (error === undefined) {
    logger.info(fields, 'request');
    return;
  }
  const failed = { ...fields, reason: error.reason, detail: error.message.slice(0, 500) };
  if (ownFaults.has(error.code)) logger.error({ ...failed, err: error.cause ?? error }, 'request');
  else if (troubles.has(error.code)) logger.warn({ ...failed, err: error.cause }, 'request');
  else logger.info(failed, 'request');
};

/** Writes the log line and the metric of a finished request, also of one that never reached a method. */
export const conclude = (
  edge: Pick<Edge, 'logger'>,
  request: {
    readonly transport: 'grpc' | 'rest';
    readonly method: string;
    readonly requestId: string;
    readonly started: number;
  },
  error: CountersignError | undefined,
  notes?: Readonly<Notes>,
): void => {
  const { transport, method, requestId } = request;
  const ms = performance.now() - request.started;
  const code = error?.code ?? 'ok';
  recordRequest({ transport, method, code, seconds: ms / 1000 });
  const fields = {
    requestId,
    transport,
    method,
    code,
    ms: Math.round(ms * 1000) / 1000,
    queueMs: notes?.queueMs ? Math.round(notes.queueMs * 1000) / 1000 : undefined,
    issuer: notes?.caller?.issuer,
    subject: notes?.caller?.subject,
  };
  log(edge.logger, fields, error);
};

/**
 * Handles one request of one method, for both edges: opens its context (id, deadline), waits for its turn, authenticates,
 * decodes, calls, encodes, and writes one span, one metric and one log line. Never rejects: a failure is in the answer.
 */
export const handle = async <Written>(
  edge: Edge,
  method: Method,
  exchange: Exchange<Written>,
): Promise<Answer<Written>> => {
  const { transport } = exchange;
  const requestId = requestIdFrom(exchange.header('x-request-id')[0]);
  const request = { transport, method: method.name, requestId, started: performance.now() };
  const owned = openContext(requestId, Math.min(exchange.timeoutMs, edge.maxRequestMs));
  const notes: Notes = { caller: undefined, queueMs: 0 };
  let done = false;
  exchange.onCancel(() => {
    // A gRPC client whose deadline passes hangs up a moment before ours passes: that is the deadline, no change of mind.
    if (!done && remainingMs(owned.context) > clientLeadMs) owned.cancel();
  });
  try {
    const run = (): Promise<Written> =>
      withinContext(work(edge, method, exchange, owned.context, notes), owned.context);
    const written = tracingEnabled() ? await traced(method, exchange, requestId, run) : await run();
    done = true;
    conclude(edge, request, undefined, notes);
    return { requestId, written, error: undefined };
  } catch (caught) {
    done = true;
    const error = toCountersignError(caught);
    conclude(edge, request, error, notes);
    return { requestId, written: undefined, error };
  } finally {
    owned.dispose();
  }
};

const traced = <Written>(
  method: Method,
  exchange: Exchange<Written>,
  requestId: string,
  run: (span: Span) => Promise<Written>,
): Promise<Written> => {
  const carrier = { traceparent: exchange.header('traceparent')[0], tracestate: exchange.header('tracestate')[0] };
  const attributes = {
    'rpc.system.name': exchange.transport === 'grpc' ? 'grpc' : 'http',
    'rpc.method': `${method.desc.parent.typeName}/${method.name}`,
    'countersign.request_id': requestId,
  };
  return withSpan(method.name, attributes, run, extractParent(carrier));
};

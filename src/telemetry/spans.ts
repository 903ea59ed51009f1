import {
  type Attributes,
  context,
  INVALID_SPAN_CONTEXT,
  type Context as OtelContext,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { CountersignError } from '../model/error.ts';

export type { OtelContext, Span };

/** Headers or metadata as a transport received them; names in lower case. */
export type Carrier = Readonly<Record<string, string | readonly string[] | undefined>>;

const idle = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
let tracer: Tracer | undefined;

/** Called by `start.ts` once the SDK is registered, and with undefined when it is shut down. */
export const setTracer = (started: Tracer | undefined): void => {
  tracer = started;
};

/** Are spans recorded? False until `startTelemetry` has started tracing. */
export const tracingEnabled = (): boolean => tracer !== undefined;

const runInSpan = <T>(
  started: Tracer,
  name: string,
  kind: SpanKind,
  attributes: Attributes,
  outer: OtelContext,
  fn: (span: Span) => Promise<T>,
): Promise<T> => {
  const span = started.startSpan(name, { attributes, kind }, outer);
  return context.with(trace.setSpan(outer, span), async () => {
    try {
      return await fn(span);
    } catch (error) {
      recordFailure(span, error);
      throw error;
    } finally {
      span.end();
    }
  });
};

/**
 * Runs one step inside a span that is the active one while `fn` runs, so that steps within become its children. Without
 * tracing `fn` is called at once, with a span that records nothing.
 *
 * `parent`: where the trace comes from (`extractParent`); its span then is of kind SERVER. Default: the active span.
 * A failure sets the status to the error's code and reason; messages are not recorded, since a span leaves the process.
 */
export const withSpan = <T>(
  name: string,
  attributes: Attributes,
  fn: (span: Span) => Promise<T>,
  parent?: OtelContext,
): Promise<T> => {
  if (tracer === undefined) return fn(idle);
  const kind = parent === undefined ? SpanKind.INTERNAL : SpanKind.SERVER;
  return runInSpan(tracer, name, kind, attributes, parent ?? context.active(), fn);
};

/** As `withSpan` below the active span, for a step that asks another service: its span is of kind CLIENT. */
export const withClientSpan = <T>(name: string, attributes: Attributes, fn: (span: Span) => Promise<T>): Promise<T> =>
  tracer === undefined ? fn(idle) : runInSpan(tracer, name, SpanKind.CLIENT, attributes, context.active(), fn);

/** As `withSpan`, for a step that waits for nothing. */
export const withSyncSpan = <T>(name: string, attributes: Attributes, fn: (span: Span) => T): T => {
  if (tracer === undefined) return fn(idle);
  const outer = context.active();
  const span = tracer.startSpan(name, { attributes, kind: SpanKind.INTERNAL }, outer);
  try {
    return context.with(trace.setSpan(outer, span), () => fn(span));
  } catch (error) {
    recordFailure(span, error);
    throw error;
  } finally {
    span.end();
  }
};

const recordFailure = (span: Span, error: unknown): void => {
  const known = error instanceof CountersignError;
  const reason = known ? error.reason : 'INTERNAL';
  span.setAttribute('error.type', reason);
  span.setStatus({ code: SpanStatusCode.ERROR, message: `${known ? error.code : 'internal'} ${reason}` });
};

/**
 * The trace context of an incoming request (W3C Trace Context `traceparent` and `tracestate`), to be passed to
 * `withSpan`. An absent or malformed header gives a context without parent: a new trace begins. Without tracing: undefined.
 */
export const extractParent = (carrier: Carrier): OtelContext | undefined =>
  tracer === undefined ? undefined : propagation.extract(ROOT_CONTEXT, carrier);

/** The headers that carry the active trace to the next service; empty without tracing. */
export const injectHeaders = (): Record<string, string> => {
  const headers: Record<string, string> = {};
  if (tracer !== undefined) propagation.inject(context.active(), headers);
  return headers;
};

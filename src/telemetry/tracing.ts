import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TraceSettings } from './settings.ts';
import { setTracer } from './spans.ts';
import type { BuildInfo } from './telemetry.ts';

const problemIntervalMs = 60_000;

/** Starts tracing with export by OTLP over HTTP. The queue is bounded: with a dead collector spans are dropped. */
export const startTracing = (
  settings: TraceSettings,
  build: BuildInfo,
  onProblem: (problem: string) => void,
): { shutdown(): Promise<void> } => {
  const exporter = new OTLPTraceExporter({
    url: tracesUrl(settings.endpoint),
    headers: settings.headers,
    timeoutMillis: settings.timeoutMs,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'countersign', 'service.version': build.version }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(settings.sampleRatio) }),
    spanLimits: { attributeValueLengthLimit: 1_024, attributeCountLimit: 32 },
    spanProcessors: [
      new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1_000, exportTimeoutMillis: settings.timeoutMs }),
    ],
  });
  setGlobalErrorHandler(reportAtMostOncePer(problemIntervalMs, onProblem));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  setTracer(provider.getTracer('countersign', build.version));
  return {
    shutdown: async () => {
      setTracer(undefined);
      await provider.shutdown().catch(() => onProblem('The last traces could not be exported.'));
      context.disable();
      propagation.disable();
      trace.disable();
    },
  };
};

const tracesUrl = (endpoint: string): string => {
  const url = new URL(endpoint);
  if (url.pathname === '/') url.pathname = '/v1/traces';
  return url.href;
};

/** Only the kind of failure is told: a collector's answer is not ours to log. */
const reportAtMostOncePer = (intervalMs: number, onProblem: (problem: string) => void) => {
  let last = Number.NEGATIVE_INFINITY;
  return (error: unknown): void => {
    if (performance.now() - last < intervalMs) return;
    last = performance.now();
    const code = (error as { code?: unknown } | undefined)?.code;
    const detail = typeof code === 'string' || typeof code === 'number' ? ` (${code})` : '';
    onProblem(`Traces could not be exported${detail}; spans are being dropped.`);
  };
};

import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { setMeter } from './metrics.ts';
import { observeProcess } from './process-metrics.ts';
import type { BuildInfo, MetricsHandler } from './telemetry.ts';

/** Most label combinations of one metric; more are counted under `otel_metric_overflow`. Labels are bounded anyway. */
const maxSeries = 1_000;

/** Starts the metrics SDK without a server of its own: `handler` answers `GET /metrics`. One at a time in a process. */
export const startPrometheus = (build: BuildInfo): { handler: MetricsHandler; shutdown(): Promise<void> } => {
  const reader = new PrometheusExporter({ preventServerStart: true, withoutScopeInfo: true, withoutTargetInfo: true });
  const provider = new MeterProvider({
    readers: [reader],
    views: [{ instrumentName: '*', aggregationCardinalityLimit: maxSeries }],
  });
  const meter = provider.getMeter('countersign', build.version);
  setMeter(meter);
  const stopObserving = observeProcess(meter, build);
  return {
    handler: (request, response) => {
      reader.getMetricsRequestHandler(request, response);
      response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
    },
    shutdown: async () => {
      setMeter(undefined);
      stopObserving();
      await provider.shutdown().catch(() => undefined);
    },
  };
};

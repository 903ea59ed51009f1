import type { TelemetrySettings } from './settings.ts';
import type { BuildInfo, Telemetry } from './telemetry.ts';

/**
 * Starts what the settings ask for. The OpenTelemetry SDK is imported only then, so that a process without telemetry
 * neither loads it nor pays for it. `onProblem` receives export failures (a text without secrets), at most one a minute.
 */
export const startTelemetry = async (
  settings: TelemetrySettings,
  build: BuildInfo,
  onProblem: (problem: string) => void = () => {},
): Promise<Telemetry> => {
  const metrics = settings.metrics ? (await import('./prometheus.ts')).startPrometheus(build) : undefined;
  const tracing = settings.traces && (await import('./tracing.ts')).startTracing(settings.traces, build, onProblem);
  return {
    metricsHandler: metrics?.handler,
    shutdown: async () => {
      await Promise.all([metrics?.shutdown(), tracing?.shutdown()]);
    },
  };
};

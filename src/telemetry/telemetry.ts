import type { IncomingMessage, ServerResponse } from 'node:http';

/** What a running process says of itself. */
export type BuildInfo = { readonly version: string };

/** Answers `GET /metrics` in the Prometheus text format. */
export type MetricsHandler = (request: IncomingMessage, response: ServerResponse) => void;

export type Telemetry = {
  /** Undefined when metrics are off. */
  readonly metricsHandler: MetricsHandler | undefined;
  /** Sends what is still queued (for at most `timeoutMs` of the trace settings) and stops. Never rejects. */
  shutdown(): Promise<void>;
};

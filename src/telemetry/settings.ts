import { z } from 'zod';

const logSettings = z.strictObject({
  level: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info')
    .describe('The least severe level that is written.'),
  format: z
    .enum(['auto', 'json', 'text'])
    .default('auto')
    .describe('json: one object a line; text: for people; auto: text on a terminal, else json.'),
});

const traceSettings = z.strictObject({
  endpoint: z
    .url({ protocol: /^https?$/, error: 'must be an http or https URL, such as http://collector:4318' })
    .describe('Where spans are sent by OTLP over HTTP; without a path, /v1/traces is added.'),
  headers: z
    .record(z.string(), z.string())
    .default({})
    .describe('Added to every export, for collectors that want credentials. Secret.'),
  sampleRatio: z
    .number()
    .min(0)
    .max(1)
    .default(1)
    .describe('Share of traces recorded when the caller has not decided; a sampled traceparent is always followed.'),
  timeoutMs: z.int().min(100).max(30_000).default(5_000).describe('The longest one export may take, in milliseconds.'),
});

/** Section `telemetry` of the configuration. Everything but the log is off by default. */
export const telemetrySettings = z.strictObject({
  log: logSettings.prefault({}).describe('The log, on standard error.'),
  metrics: z.boolean().default(false).describe('Serve Prometheus metrics at /metrics of the admin listener.'),
  traces: traceSettings.optional().describe('Export traces. Absent: no tracing.'),
});

export type LogSettings = z.output<typeof logSettings>;
export type TraceSettings = z.output<typeof traceSettings>;
export type TelemetrySettings = z.output<typeof telemetrySettings>;

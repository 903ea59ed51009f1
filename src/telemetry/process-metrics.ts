import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { Meter } from '@opentelemetry/api';
import type { BuildInfo } from './telemetry.ts';

/** Milliseconds between two samples of the event loop's delay. */
const resolution = 20;

/** Registers the metrics of the process itself; returns how to stop sampling. */
export const observeProcess = (meter: Meter, build: BuildInfo): (() => void) => {
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  // The histogram holds whole intervals between samples (nanoseconds): what exceeds the resolution is delay.
  const secondsLate = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e9 - resolution / 1e3);

  const p99 = meter.createObservableGauge('nodejs_eventloop_delay_p99_seconds', {
    description: 'How late the event loop ran its timers since the last scrape, 99th percentile.',
  });
  const max = meter.createObservableGauge('nodejs_eventloop_delay_max_seconds', {
    description: 'How late the event loop ran its timers since the last scrape, at worst.',
  });
  meter.addBatchObservableCallback(
    (result) => {
      if (delay.count === 0) return;
      result.observe(p99, secondsLate(delay.percentile(99)));
      result.observe(max, secondsLate(delay.max));
      delay.reset();
    },
    [p99, max],
  );
  meter
    .createObservableGauge('process_resident_memory_bytes', { description: 'Resident memory of the process.' })
    .addCallback((result) => result.observe(process.memoryUsage.rss()));
  meter
    .createObservableCounter('process_cpu_seconds', { description: 'User and system CPU time of the process.' })
    .addCallback((result) => {
      const { user, system } = process.cpuUsage();
      result.observe((user + system) / 1e6);
    });
  meter
    .createObservableGauge('process_start_time_seconds', { description: 'Start of the process, Unix time.' })
    .addCallback((result) => result.observe(Math.round(performance.timeOrigin) / 1000));
  meter
    .createObservableGauge('countersign_build_info', { description: 'Always 1; the labels tell the build.' })
    .addCallback((result) => result.observe(1, { version: build.version, node: process.version }));
  return () => delay.disable();
};

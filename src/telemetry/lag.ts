import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Milliseconds between two samples. */
const resolution = 50;
/** Above this a process answers too slowly to be sent more work. */
const maxLagMs = 200;

/** Watches how late the event loop runs; `check` judges the time since the last call of it. */
export const lagCheck = (): {
  check(): { readonly name: string; readonly ok: boolean; readonly detail: string };
  stop(): void;
} => {
  const delay = monitorEventLoopDelay({ resolution });
  delay.enable();
  return {
    check: () => {
      const lagMs = delay.count === 0 ? 0 : Math.max(0, delay.percentile(90) / 1e6 - resolution);
      delay.reset();
      return { name: 'event loop', ok: lagMs < maxLagMs, detail: `${lagMs.toFixed(1)} ms late (90th percentile)` };
    },
    stop: () => delay.disable(),
  };
};

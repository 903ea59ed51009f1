import { mock } from 'node:test';
import { createQuota, type Quota, type QuotaSettings } from '../../src/keys/quota.ts';
import { type Context, cancelled } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';

/** Runs with a clock that moves only with `mock.timers.tick`. */
export const onMockClock = (work: () => Promise<void>) => async () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 1_000 });
  try {
    await work();
  } finally {
    mock.timers.reset();
  }
};

export const open = (settings: QuotaSettings): Quota =>
  createQuota(settings, { key: 'release', now: () => Date.now() });

export const request = (withinMs = Number.POSITIVE_INFINITY): { context: Context; abort(): void } => {
  const controller = new AbortController();
  const context = { requestId: 'test', signal: controller.signal, deadline: Date.now() + withinMs };
  return { context, abort: () => controller.abort(cancelled()) };
};

export const never = request().context;

/** Asks, and writes down what came of it. */
export const ask = (
  quota: Quota,
  caller: string,
  log: string[],
  { context = request().context, weight = 1, label = caller } = {},
): void => {
  const say = (caught: unknown): number =>
    log.push(`${label}: ${caught instanceof CountersignError ? caught.reason : String(caught)}`);
  try {
    Promise.resolve(quota.acquire(caller, context, weight)).then(() => log.push(label), say);
  } catch (caught) {
    say(caught);
  }
};

import type { Counter, Histogram, Meter } from '@opentelemetry/api';
import type { ErrorCode } from '../model/error.ts';

/** The parts into which the time of a request is split. */
export type Leg = 'queue' | 'policy' | 'key' | 'registry';

export type RequestMeasurement = {
  readonly transport: 'grpc' | 'rest';
  /** A method of our own contract, or `unknown`; never text that a caller chose. */
  readonly method: string;
  readonly code: ErrorCode | 'ok';
  readonly seconds: number;
};

type Instruments = {
  readonly requests: Histogram;
  readonly legs: Histogram;
  readonly decisions: Counter;
  readonly keyErrors: Counter;
  readonly keyRetries: Counter;
  readonly keyFailovers: Counter;
  readonly registryErrors: Counter;
  readonly leaseWaits: Histogram;
};

/** Upper bounds in seconds: signing with a local key takes under a millisecond, a deadline is tens of seconds. */
const buckets = {
  advice: {
    explicitBucketBoundaries: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
  },
};

let instruments: Instruments | undefined;

/**
 * Called by `start.ts`; before that, and after `undefined`, every `record` function returns at once.
 * The names are those that Prometheus shows, except that its exporter adds `_total` to counters; it adds no units.
 */
export const setMeter = (meter: Meter | undefined): void => {
  instruments = meter && {
    requests: meter.createHistogram('countersign_request_duration_seconds', {
      description: 'Time from the first byte of a request to its answer; its count is the number of requests.',
      ...buckets,
    }),
    legs: meter.createHistogram('countersign_leg_duration_seconds', {
      description: 'Time that one leg of a request took: queue, policy, key or registry.',
      ...buckets,
    }),
    decisions: meter.createCounter('countersign_policy_decisions', {
      description: 'Policy decisions by the rule that decided; rule is empty when none matched.',
    }),
    keyErrors: meter.createCounter('countersign_key_errors', { description: 'Failed uses of a configured key.' }),
    keyRetries: meter.createCounter('countersign_key_retries', {
      description: 'Repeated attempts of a backend to sign.',
    }),
    keyFailovers: meter.createCounter('countersign_key_failovers', {
      description: 'Members of a group of keys that were passed over after a failure.',
    }),
    registryErrors: meter.createCounter('countersign_registry_errors', { description: 'Failed registry operations.' }),
    leaseWaits: meter.createHistogram('countersign_lease_wait_seconds', {
      description: 'Time until a lease for a write to a tag was had; outcome is held, or the reason of a failure.',
      ...buckets,
    }),
  };
};

/** One finished request; `seconds` is its whole duration. */
export const recordRequest = ({ transport, method, code, seconds }: RequestMeasurement): void =>
  instruments?.requests.record(seconds, { transport, method, code });

/** The time of one leg, in seconds. */
export const recordLeg = (leg: Leg, seconds: number): void => instruments?.legs.record(seconds, { leg });

/** One policy decision; `rule` is the name of a configured rule, undefined for the default deny. */
export const recordDecision = (rule: string | undefined, allowed: boolean): void =>
  instruments?.decisions.add(1, { rule: rule ?? '', decision: allowed ? 'allow' : 'deny' });

/** One failed use of a key; `key` is a configured name (never one that a caller made up), `reason` an error's reason. */
export const recordKeyError = (key: string, reason: string): void => instruments?.keyErrors.add(1, { key, reason });

/** One more attempt to sign with a configured key. */
export const recordKeyRetry = (key: string): void => instruments?.keyRetries.add(1, { key });

/** A member of a configured group failed, and another is tried. */
export const recordKeyFailover = (key: string, member: string): void =>
  instruments?.keyFailovers.add(1, { key, member });

/** One failed registry operation; `reason` is an error's reason. */
export const recordRegistryError = (reason: string): void => instruments?.registryErrors.add(1, { reason });

/** The wait for a lease; `outcome` is `held`, or an error's reason. */
export const recordLeaseWait = (seconds: number, outcome: string): void =>
  instruments?.leaseWaits.record(seconds, { outcome });

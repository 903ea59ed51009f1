import { CountersignError } from '../../src/model/error.ts';
import type { LeaseStore } from '../../src/registry/lease.ts';

/** Leases in memory, for what no real store does on order; several replicas may share one. */
export type FakeLeaseStore = LeaseStore & {
  /** The tokens of those who have a lease, by name. */
  readonly holders: Map<string, string>;
  /** Operations that answered, in order. */
  readonly done: { readonly operation: string; readonly token: string; readonly lingerMs?: number | undefined }[];
  /** Every lease and note is gone, as after a restart; `seen`: and the connection broke. */
  forget(how: 'seen' | 'unseen'): void;
  /** Operations that reject from now on; `after`: once they are done all the same. */
  fail(operations: readonly string[], after?: 'after'): void;
};

const away = (): CountersignError =>
  new CountersignError('unavailable', 'LEASE_UNAVAILABLE', 'The store is away.', { retryAfterMs: 1_000 });

export const createFakeLeaseStore = (): FakeLeaseStore => {
  const holders = new Map<string, string>();
  const notes = new Map<string, string[]>();
  const expiries = new Map<string, NodeJS.Timeout>();
  const done: FakeLeaseStore['done'] = [];
  let failing: readonly string[] = [];
  let doneFirst = false;
  let upSince = Number.NEGATIVE_INFINITY;

  const expire = (name: string, ms: number): void => {
    clearTimeout(expiries.get(name));
    const timer = setTimeout(() => holders.delete(name), ms);
    expiries.set(name, timer.unref());
  };
  const operation = async <T>(name: string, token: string, work: () => T, lingerMs?: number): Promise<T> => {
    await new Promise((resolve) => setImmediate(resolve));
    if (failing.includes(name) && !doneFirst) throw away();
    const result = work();
    done.push({ operation: name, token, lingerMs });
    if (failing.includes(name)) throw away();
    return result;
  };

  return {
    holders,
    done,
    forget: (how) => {
      holders.clear();
      notes.clear();
      if (how === 'seen') upSince = performance.now();
    },
    fail: (operations, after) => {
      failing = operations;
      doneFirst = after === 'after';
    },
    take: (name, token, ms) =>
      operation('take', token, () => {
        if ((holders.get(name) ?? token) !== token) return false;
        holders.set(name, token);
        expire(name, ms);
        return true;
      }),
    keep: (name, token, ms) =>
      operation('keep', token, () => {
        if (holders.get(name) !== token) return false;
        expire(name, ms);
        return true;
      }),
    give: (name, token, { note, lingerMs = 0 }) =>
      operation(
        'give',
        token,
        () => {
          if (holders.get(name) !== token) return false;
          if (note !== undefined) notes.set(name, [...(notes.get(name) ?? []), note]);
          if (lingerMs > 0) expire(name, lingerMs);
          else holders.delete(name);
          return true;
        },
        lingerMs,
      ),
    noted: (name) => operation('noted', '', () => notes.get(name) ?? []),
    upForMs: () => performance.now() - upSince,
    close: async () => undefined,
  };
};

import { openContext } from '../model/context.ts';
import { type CountersignError, toCountersignError } from '../model/error.ts';
import type { KeySource } from './key-source.ts';

/** The members of a group and which of them are up. */
export type Members = {
  readonly count: number;
  /** In the order of the configuration. */
  readonly sources: readonly KeySource[];
  /** The next one that is not in `tried`: of those that are up, or of the others when none is; undefined when all were tried. */
  pick(tried: ReadonlySet<string>): KeySource | undefined;
  /** Does the configuration name the one before the other? */
  before(one: string, other: string): boolean;
  /** Passes a member over until its backend, asked in the background, has answered. */
  down(name: string, error: CountersignError): void;
  /** Why a member is down; undefined when it is up. */
  problem(name: string): CountersignError | undefined;
  /** Ends the background work; the members belong to others. */
  close(): void;
};

/** Waits between two looks at a member that is down, milliseconds: doubled each time, up to the second. */
const firstWaitMs = 1_000;
const longestWaitMs = 60_000;
/** A member that fails again so soon after it came back, milliseconds, was not really back: it waits longer. */
const relapseMs = 60_000;
/** The longest that one look may take. */
const lookMs = 10_000;

type Member = { readonly source: KeySource; readonly weight: number | undefined };
type Down = { readonly error: CountersignError; readonly waitMs: number; readonly timer: NodeJS.Timeout };

export const createMembers = (all: readonly Member[]): Members => {
  const down = new Map<string, Down>();
  const cameUp = new Map<string, { readonly at: number; readonly waitMs: number }>();
  let closed = false;

  const look = async (member: Member, waitMs: number): Promise<void> => {
    const owned = openContext(`look-at-${member.source.name}`, lookMs);
    try {
      await member.source.reopen(owned.context);
      down.delete(member.source.name);
      cameUp.set(member.source.name, { at: performance.now(), waitMs });
    } catch (caught) {
      mark(member, toCountersignError(caught), Math.min(waitMs * 2, longestWaitMs));
    } finally {
      owned.dispose();
    }
  };

  const mark = (member: Member, error: CountersignError, waitMs: number): void => {
    if (closed) return;
    clearTimeout(down.get(member.source.name)?.timer);
    const wait = Math.max(waitMs, Math.min(error.retryAfterMs ?? 0, longestWaitMs)) * (0.75 + Math.random() / 2);
    const timer = setTimeout(() => void look(member, waitMs), wait).unref();
    down.set(member.source.name, { error, waitMs, timer });
  };

  const choose = (from: readonly Member[]): Member | undefined => {
    const total = from.reduce((sum, { weight }) => sum + (weight ?? 0), 0);
    if (total === 0) return from[0];
    let left = Math.random() * total;
    for (const member of from) {
      left -= member.weight ?? 0;
      if (left < 0) return member;
    }
    return from[0];
  };

  const position = (name: string): number => all.findIndex(({ source }) => source.name === name);

  return {
    count: all.length,
    sources: all.map(({ source }) => source),
    pick: (tried) => {
      const left = all.filter(({ source }) => !tried.has(source.name));
      const up = left.filter(({ source }) => !down.has(source.name));
      return choose(up.length > 0 ? up : left)?.source;
    },
    before: (one, other) => position(one) < position(other),
    down: (name, error) => {
      const member = all[position(name)];
      // Several requests see the same failure: it counts once.
      if (member === undefined || down.has(name)) return;
      const last = cameUp.get(name);
      const relapse = last !== undefined && performance.now() - last.at < relapseMs;
      mark(member, error, relapse ? Math.min(last.waitMs * 2, longestWaitMs) : firstWaitMs);
    },
    problem: (name) => down.get(name)?.error,
    close: () => {
      closed = true;
      for (const { timer } of down.values()) clearTimeout(timer);
      down.clear();
    },
  };
};

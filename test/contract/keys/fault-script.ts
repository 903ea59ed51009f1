// What a scripted proxy does to the exchanges that pass through it, whatever they are made of.
import type { Writable } from 'node:stream';

/** Which exchanges: those that sign, or the one that reads the public key while the key is opened. */
export type Leg = 'sign' | 'open';

export type Json = Readonly<Record<string, unknown>>;

/** `answer` with its member `name` changed. */
export const changed = (answer: Json, name: string, change: (value: Json) => unknown): Json => ({
  ...answer,
  [name]: change(answer[name] as Json),
});

/**
 * Faults on the way: `delay`: the answer comes late; `reset`: the connection is reset instead; `cut`: reset in the middle of
 * the answer; `half`: closed in the middle, or before all that was announced; `hang`: no answer, ever; `stall`: half of one,
 * and no more; `flood`: an answer without end.
 */
export type TransportFault =
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'reset' | 'cut' | 'half' | 'hang' | 'stall' | 'flood' };

/** `Refusal`: how this kind of backend says no. */
export type Fault<Refusal> =
  | TransportFault
  /** To the proxy itself, which tells whether anyone came. */
  | { readonly kind: 'redirect' }
  /** In place of asking the backend. */
  | { readonly kind: 'refusal'; readonly refusal: Refusal }
  /** Of the answer's content, as it is once parsed. */
  | { readonly kind: 'rewrite'; readonly change: (answer: Json) => unknown }
  /** Of the answer's bytes. */
  | { readonly kind: 'garble'; readonly change: (bytes: Buffer) => Buffer };

/** What stands between a key and its backend: hands on everything unchanged, unless a rule is there for the next exchange. */
export type FaultProxy<Refusal> = {
  /** For the next `times` exchanges of a leg; in the order in which they were injected. */
  inject(leg: Leg, fault: Fault<Refusal>, times?: number): void;
  /** Forgets all rules; connections on which something hangs are closed. */
  heal(): void;
  /** Exchanges of a leg that were begun, whatever became of them. */
  count(leg: Leg): number;
  /** Requests that went where a redirect pointed. */
  followed(): number;
  close(): Promise<void>;
};

export type Script<Refusal> = Pick<FaultProxy<Refusal>, 'inject' | 'count'> & {
  /** Counts an exchange, and says what befalls it. */
  next(leg: Leg | undefined): Fault<Refusal> | undefined;
  clear(): void;
};

export const createScript = <Refusal>(): Script<Refusal> => {
  const counts: Record<Leg, number> = { sign: 0, open: 0 };
  let rules: { readonly leg: Leg; readonly fault: Fault<Refusal>; times: number }[] = [];
  return {
    inject: (leg, fault, times = Number.POSITIVE_INFINITY) => void rules.push({ leg, fault, times }),
    count: (leg) => counts[leg],
    clear: () => {
      rules = [];
    },
    next: (leg) => {
      if (leg === undefined) return undefined;
      counts[leg] += 1;
      const rule = rules.find((each) => each.leg === leg && each.times > 0);
      if (rule !== undefined) rule.times -= 1;
      return rule?.fault;
    },
  };
};

/** An answer without end is this long at most: many times what any bound allows. */
const floodBytes = 64 * 1024 * 1024;
/** Who is flooded must have hung up by then; the buffers of both sides hold some MiB. */
const floodTakenBytes = 32 * 1024 * 1024;

/** Writes spaces until the stream is closed. Throws when that does not come in time. */
export const flood = async (stream: Writable): Promise<void> => {
  const piece = Buffer.alloc(64 * 1024, 0x20);
  for (let sent = 0; sent < floodBytes && !stream.closed && !stream.destroyed; sent += piece.length) {
    if (sent > floodTakenBytes) throw new Error('a flood was not cut off');
    if (stream.write(piece)) continue;
    const { promise, resolve } = Promise.withResolvers<void>();
    stream.once('drain', resolve).once('close', resolve);
    await promise;
    stream.off('drain', resolve).off('close', resolve);
  }
};

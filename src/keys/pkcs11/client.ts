import { type Context, openContext } from '../../model/context.ts';
import { CountersignError, toCountersignError } from '../../model/error.ts';
import { waitFor } from '../../model/wait.ts';
import { type Pkcs11Child, startPkcs11Child } from './child.ts';
import { isLost, isPinRefused, pkcs11Error, pkcs11Garbage, processEnded } from './errors.ts';
import { assertMayLogIn, type PinSource, readPin, rememberRefused } from './pin.ts';
import {
  type FoundKey,
  foundKeySchema,
  type KeySelector,
  loggedInSchema,
  type MechanismName,
  signatureSchema,
  type TokenFacts,
  tokenFactsSchema,
  type TokenSelector,
} from './protocol.ts';
import type { Outcome } from './token.ts';

export type Pkcs11Connection = PinSource & {
  readonly module: string;
  readonly token: TokenSelector;
  readonly maxSessions: number;
};

type Running = {
  readonly child: Pkcs11Child;
  readonly token: TokenFacts;
  /** Keys of another process that were found in this one. */
  readonly found: Map<string, Promise<Outcome>>;
};

/** A key as the token describes it. */
export type TokenKey = { readonly token: TokenFacts; readonly found: FoundKey; readonly from: Running };

/**
 * One token of one module, with its process and its sessions. Safe to call concurrently. A process that ended, or lost its
 * sessions, is replaced by a new one when it is needed, which logs in and finds the keys anew.
 */
export type Pkcs11Client = {
  /** `PKCS#11 token "release"`, for messages. */
  readonly at: string;
  /** Reads a key from the token. Errors as `pkcs11Error`, `assertMayLogIn`, `readPin`. */
  find(selector: KeySelector, context: Context): Promise<TokenKey>;
  /**
   * One signature by a key that was found, in the form of the mechanism. When the process is another by now, the key is
   * found anew, and `same` throws if it is another one. One attempt, and one more after sessions that were lost.
   */
  sign(
    pinned: TokenKey,
    selector: KeySelector,
    same: (found: FoundKey) => void,
    input: { readonly mechanism: MechanismName; readonly data: Uint8Array },
    context: Context,
  ): Promise<Buffer>;
  close(): Promise<void>;
};

/** A start takes 0.1 s; modules of network HSMs may want seconds. */
const startMs = 15_000;
const silentMs = 10_000;
const maxPauseMs = 30_000;

const nameOf = ({ label, serial, slot, model }: TokenSelector): string => {
  if (label !== undefined) return `PKCS#11 token ${JSON.stringify(label)}`;
  return slot === undefined ? `PKCS#11 token ${serial ?? model}` : `PKCS#11 token in slot ${slot}`;
};

/** The content of a success. Throws the error for a problem. */
const okOf = (at: string, outcome: Outcome, knownBefore = false): unknown => {
  if ('problem' in outcome) throw pkcs11Error(at, outcome.problem, knownBefore);
  return outcome.ok;
};

export const createPkcs11Client = (
  connection: Pkcs11Connection,
  entry: URL,
  times: { readonly silentMs?: number | undefined } = {},
): Pkcs11Client => {
  const { module, token: selector, maxSessions } = connection;
  const at = nameOf(selector);
  const children = new Set<Pkcs11Child>();
  let starting: Promise<Running> | undefined;
  let running: Running | undefined;
  let closed = false;
  let knownBefore = false;
  /** What went wrong since the last signature; the more, the longer the pause before another start. */
  let losses = 0;
  let pause: { readonly until: number; readonly error: CountersignError } | undefined;

  const lose = (error: CountersignError): void => {
    losses += 1;
    // The first is mended at once.
    if (losses === 1) return;
    pause = { until: performance.now() + Math.min(maxPauseMs, 50 * 2 ** losses), error };
  };

  const logIn = async (child: Pkcs11Child, context: Context): Promise<Running> => {
    const opened = await child.call({ op: 'open', module, token: selector }, context);
    const token = tokenFactsSchema.safeParse(okOf(at, opened, knownBefore)).data;
    if (token === undefined) throw pkcs11Garbage(at, 'no description of the token');
    const pin = await readPin(connection);
    assertMayLogIn(at, module, token, pin);
    const outcome = await child.call({ op: 'login', pin, maxSessions }, context);
    if ('problem' in outcome && pin !== undefined && isPinRefused(outcome.problem)) rememberRefused(module, token, pin);
    if (!loggedInSchema.safeParse(okOf(at, outcome)).success) throw pkcs11Garbage(at, 'no login');
    knownBefore = true;
    return { child, token, found: new Map() };
  };

  const start = async (): Promise<Running> => {
    const child = startPkcs11Child({ entry, at, threads: maxSessions, silentMs: times.silentMs ?? silentMs });
    children.add(child);
    void child.ended.then((how) => {
      children.delete(child);
      if (running?.child !== child) return;
      running = undefined;
      lose(processEnded(at, how));
    });
    const owned = openContext('pkcs11-start', startMs);
    try {
      const started = await logIn(child, owned.context);
      if (child.gone) throw processEnded(at, 'it ended after the login');
      running = started;
      return started;
    } catch (caught) {
      child.stop();
      lose(toCountersignError(caught));
      throw caught;
    } finally {
      owned.dispose();
      starting = undefined;
    }
  };

  const current = async (context: Context): Promise<Running> => {
    if (running !== undefined) return running;
    if (closed) throw new CountersignError('unavailable', 'SHUTTING_DOWN', 'The service is shutting down.');
    const waitMs = pause === undefined ? 0 : pause.until - performance.now();
    if (pause !== undefined && waitMs > 0 && starting === undefined) throw paused(pause.error, waitMs);
    starting ??= start();
    return waitFor(starting, context);
  };

  /** Sessions that are lost are had anew from a new process: modules differ in how much of one they can mend. */
  const retire = (lost: Running, error: CountersignError): void => {
    lost.child.stop();
    if (running !== lost) return;
    running = undefined;
    lose(error);
  };

  const withLogin = async (context: Context, work: (use: Running) => Promise<Outcome>): Promise<unknown> => {
    for (let again = true; ; again = false) {
      const use = await current(context);
      const outcome = await work(use);
      if ('problem' in outcome && isLost(outcome.problem)) {
        retire(use, pkcs11Error(at, outcome.problem));
        if (again) continue;
      }
      return okOf(at, outcome);
    }
  };

  /** Finds a key of another process in this one, once for all who wait. */
  const findAnew = (use: Running, wanted: KeySelector): Promise<Outcome> => {
    const id = JSON.stringify([wanted.label, wanted.id]);
    const before = use.found.get(id);
    if (before !== undefined) return before;
    const owned = openContext('pkcs11-find', startMs);
    const finding = use.child.call({ op: 'find', key: wanted }, owned.context).finally(owned.dispose);
    use.found.set(id, finding);
    return finding;
  };

  const readFound = (ok: unknown): FoundKey => {
    const found = foundKeySchema.safeParse(ok).data;
    if (found === undefined) throw pkcs11Garbage(at, 'no description of the key');
    return found;
  };

  return {
    at,
    find: async (wanted, context) => {
      let from: Running | undefined;
      const ok = await withLogin(context, (use) => {
        from = use;
        return use.child.call({ op: 'find', key: wanted }, context);
      });
      if (from === undefined) throw pkcs11Garbage(at, 'nothing');
      return { token: from.token, found: readFound(ok), from };
    },
    sign: async (pinned, wanted, same, { mechanism, data }, context) => {
      const encoded = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
      const ok = await withLogin(context, async (use) => {
        let { found } = pinned;
        if (pinned.from !== use) {
          const outcome = await waitFor(findAnew(use, wanted), context);
          if ('problem' in outcome) return outcome;
          found = readFound(outcome.ok);
          same(found);
        }
        const alone = use.child.idle;
        return use.child.call({ op: 'sign', key: found.key, mechanism, data: encoded, alone }, context);
      });
      const signature = signatureSchema.safeParse(ok).data;
      if (signature === undefined) throw pkcs11Garbage(at, 'no signature');
      losses = 0;
      return Buffer.from(signature, 'base64');
    },
    close: async () => {
      closed = true;
      running = undefined;
      await starting?.catch(() => undefined);
      const all = [...children];
      for (const child of all) child.stop();
      await Promise.all(all.map((child) => child.ended));
    },
  };
};

/** A start that failed a moment ago is not tried again yet. */
const paused = (error: CountersignError, waitMs: number): CountersignError => {
  const { code, reason, message, retryAfterMs } = error;
  const later = retryAfterMs === undefined ? {} : { retryAfterMs: Math.max(retryAfterMs, Math.ceil(waitMs)) };
  return new CountersignError(code, reason, message, { cause: error.cause ?? error, ...later });
};

import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Context } from '../../model/context.ts';
import { processEnded, tooMany } from './errors.ts';
import { answerSchema, type Request } from './protocol.ts';
import type { Outcome } from './token.ts';
import { createWire } from './wire.ts';

/** The process that holds a module. Requests may be made concurrently. */
export type Pkcs11Child = {
  /**
   * Throws `unavailable` when the process ends before it answers, `resource_exhausted` when too much waits, the context's
   * reason when that ends; what has not begun then never does.
   */
  call(request: Request, context: Context): Promise<Outcome>;
  /** Has it ended, or been told to? */
  readonly gone: boolean;
  /** Is nothing asked of it that it has not answered? */
  readonly idle: boolean;
  /** Lets what was asked be finished, then ends it. */
  stop(): void;
  /** When it has ended: how, for the log. */
  readonly ended: Promise<string>;
};

export type ChildSettings = {
  /** The program: `process.ts`. */
  readonly entry: URL;
  /** Names the token in messages. */
  readonly at: string;
  /** How many operations may run in the module at once. */
  readonly threads: number;
  /** A process that is asked and says nothing for so long hangs, and is killed: milliseconds. */
  readonly silentMs: number;
};

const maxPending = 1024;
const maxThreads = 128;

type Pending = { readonly resolve: (outcome: Outcome) => void; readonly reject: (error: unknown) => void };

/** The environment without what would change how Node starts; vendors' modules read their configuration from it. */
const environment = (threads: number): NodeJS.ProcessEnv => {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return { ...rest, UV_THREADPOOL_SIZE: String(Math.min(Math.max(threads, 4), maxThreads)) };
};

export const startPkcs11Child = ({ entry, at, threads, silentMs }: ChildSettings): Pkcs11Child => {
  // What a module prints is nobody's log line, and may be anything.
  const child = spawn(process.execPath, ['--no-warnings', fileURLToPath(entry)], {
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    env: environment(threads),
  });
  const channel = child.stdio[3] as Duplex;
  const pending = new Map<number, Pending>();
  const ended = Promise.withResolvers<string>();
  let lastId = 0;
  let gone = false;
  let late: NodeJS.Timeout | undefined;

  const kill = (): void => void child.kill('SIGKILL');
  let silence: NodeJS.Timeout | undefined;
  const hush = (): void => {
    clearTimeout(silence);
    silence = undefined;
  };
  const onEnd = (how: string): void => {
    gone = true;
    hush();
    clearTimeout(late);
    for (const { reject } of pending.values()) reject(processEnded(at, how));
    pending.clear();
    ended.resolve(how);
  };
  const endWhenDone = (): void => {
    if (gone && pending.size === 0) channel.end();
  };
  child.on('exit', (status, signal) => onEnd(`the process ended with ${signal ?? `status ${status}`}`));
  child.on('error', (error) => onEnd(error.message));
  channel.on('error', kill);

  const wire = createWire(
    channel,
    (messages) => {
      for (const message of messages) {
        const answer = answerSchema.safeParse(message).data;
        if (answer === undefined) return kill();
        const { id, ...outcome } = answer;
        const waiting = pending.get(id);
        pending.delete(id);
        waiting?.resolve(outcome);
      }
      if (pending.size === 0) hush();
      else silence?.refresh();
      endWhenDone();
    },
    kill,
  );

  return {
    get gone() {
      return gone;
    },
    get idle() {
      return pending.size === 0;
    },
    call: async (request, context) => {
      if (gone) throw processEnded(at, 'the process has ended');
      if (pending.size >= maxPending) throw tooMany(at);
      if (context.signal.aborted) throw context.signal.reason;
      lastId += 1;
      const id = lastId;
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
      const onAbort = (): void => {
        pending.delete(id);
        if (pending.size === 0) hush();
        wire.send({ cancel: id });
        reject(context.signal.reason);
        endWhenDone();
      };
      context.signal.addEventListener('abort', onAbort, { once: true });
      silence ??= setTimeout(kill, silentMs);
      pending.set(id, { resolve, reject });
      wire.send({ id, ...request }, request.op === 'sign' && request.alone);
      try {
        return await promise;
      } finally {
        context.signal.removeEventListener('abort', onAbort);
      }
    },
    stop: () => {
      if (gone) return;
      gone = true;
      endWhenDone();
      late = setTimeout(kill, silentMs);
    },
    ended: ended.promise,
  };
};

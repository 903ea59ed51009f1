import type { RedisClientType } from '@redis/client';
import { CountersignError } from '../../model/error.ts';
import { literalAddress } from '../../net/address.ts';
import { assertAddressAllowed, type EgressPolicy } from '../../net/egress.ts';
import { toNetworkError } from '../../net/errors.ts';
import { judgedLookup, type Resolver, systemResolver } from '../../net/lookup.ts';
import { withSystemRoots } from '../../net/tls.ts';

export type ValkeyOptions = {
  /** `redis` or `rediss`; a path is the number of a database. */
  readonly url: string;
  /** Asked at every connection. */
  readonly credentials: () => Promise<{
    readonly username?: string | undefined;
    readonly password?: string | undefined;
  }>;
  /** PEM certificates that are trusted besides the system's. */
  readonly ca?: string | undefined;
  /** As in `net/egress.ts`. */
  readonly allowPrivate: readonly string[];
  /** Told when the connection fails, once, and with undefined when it is up (again). */
  readonly told?: (problem: CountersignError | undefined) => void;
  /** Default: as the system does. */
  readonly resolve?: Resolver;
};

/** One connection to Valkey, made anew whenever it is lost. Safe to use concurrently. */
export type ValkeyConnection = {
  /**
   * Runs a Lua script; a script must do no harm when it runs twice, since it is sent again, once, when a connection was lost
   * before the answer. Rejects with `unavailable`, reason `LEASE_UNAVAILABLE`, after seconds at most.
   */
  run(script: string, keys: readonly string[], args: readonly string[]): Promise<unknown>;
  /** For how long it has been up: milliseconds, 0 while it is not. */
  upForMs(): number;
  close(): Promise<void>;
};

/** Time for an answer, for TCP and TLS, and for being connected anew before work fails. */
const answerMs = 2_000;
const connectMs = 5_000;
const awayMs = 2_000;
const maxReconnectMs = 2_000;
const retryAfterMs = 1_000;

/**
 * Begins to connect and does not wait for it. Every address passes the egress policy. Throws `failed_precondition`, reason
 * `EGRESS_DENIED`, when the URL spells one that is refused.
 */
export const connectValkey = async (options: ValkeyOptions): Promise<ValkeyConnection> => {
  const url = new URL(options.url);
  // As https, so that the host is read as all outbound ones are.
  const origin = new URL(`https://${url.hostname}:${url.port || 6379}`);
  const policy: EgressPolicy = { plainHttpHosts: [], allowPrivate: options.allowPrivate };
  const literal = literalAddress(origin.hostname);
  if (literal !== undefined) assertAddressAllowed(origin, literal, policy);
  const { createClient, ErrorReply } = await import('@redis/client');

  const host = origin.hostname.replace(/^\[|\]$/g, '');
  const shared = {
    host,
    port: Number(url.port || 6379),
    lookup: judgedLookup(origin, policy, options.resolve ?? systemResolver),
    connectTimeout: connectMs,
    keepAliveInitialDelay: 5_000,
    reconnectStrategy: (tries: number) => Math.min(maxReconnectMs, 50 * 2 ** tries) * (0.5 + Math.random() / 2),
  };
  const tls = {
    ...shared,
    tls: true as const,
    ...(options.ca === undefined ? {} : { ca: withSystemRoots([options.ca]) }),
  };
  const create = () =>
    createClient({
      // In RESP 3 credentials are arguments of HELLO, which older servers quote in their errors.
      RESP: 2,
      socket: url.protocol === 'rediss:' ? tls : shared,
      database: Number(url.pathname.slice(1)),
      credentialsProvider: {
        type: 'async-credentials-provider',
        credentials: async () => {
          const { username, password } = await options.credentials();
          return { ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) };
        },
      },
      disableOfflineQueue: true,
      disableClientInfo: true,
      maintNotifications: 'disabled',
      commandOptions: { timeout: 0 },
    }) as unknown as RedisClientType;

  const told = options.told ?? (() => undefined);
  const waiting = new Set<() => void>();
  let readyAt: number | undefined;
  let problem: CountersignError | undefined;
  let closed = false;

  const failed = (cause: unknown): void => {
    readyAt = undefined;
    const first = problem === undefined;
    problem = unavailable(origin.host, cause, ErrorReply);
    if (first && !closed) told(problem);
  };

  const start = (): RedisClientType => {
    const made = create();
    let silence: NodeJS.Timeout | undefined;
    made.on('connect', () => {
      silence = setTimeout(() => drop(made, silent()), answerMs).unref();
    });
    made.on('ready', () => {
      clearTimeout(silence);
      if (made !== client) return;
      readyAt = performance.now();
      problem = undefined;
      told(undefined);
      for (const wake of waiting) wake();
    });
    made.on('error', (error: unknown) => {
      clearTimeout(silence);
      if (made === client) failed(error);
    });
    made.connect().catch(() => undefined);
    return made;
  };
  /** Gives up a connection that may be dead without saying so, or leads to a server that must not be written to. */
  const drop = (used: RedisClientType, cause: unknown): void => {
    if (used !== client || closed) return;
    failed(cause);
    used.destroy();
    client = start();
  };
  let client = start();

  const ready = async (): Promise<void> => {
    if (readyAt !== undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, awayMs);
    waiting.add(resolve);
    await promise;
    waiting.delete(resolve);
    clearTimeout(timer);
    if (readyAt === undefined) throw problem ?? unavailable(origin.host, silent(), ErrorReply);
  };

  const answered = async <T>(used: RedisClientType, asked: Promise<T>): Promise<T> => {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(silent());
        drop(used, silent());
      }, answerMs);
    });
    try {
      return await Promise.race([asked, late]);
    } finally {
      clearTimeout(timer);
    }
  };

  const run: ValkeyConnection['run'] = async (script, keys, args) => {
    for (let tries = 1; ; tries++) {
      await ready();
      const used = client;
      try {
        return await answered(used, used.eval(script, { keys: [...keys], arguments: [...args] }));
      } catch (error) {
        const said = error instanceof ErrorReply;
        // A primary that has become a replica: a new connection finds the new one.
        if (said && codeOf(error) === 'READONLY') drop(used, error);
        if (said || tries === 2 || closed) throw unavailable(origin.host, error, ErrorReply);
      }
    }
  };

  return {
    run,
    upForMs: () => (readyAt === undefined ? 0 : performance.now() - readyAt),
    close: async () => {
      closed = true;
      readyAt = undefined;
      client.destroy();
    },
  };
};

const silent = (): Error => Object.assign(new Error('no answer in time'), { code: 'UND_ERR_HEADERS_TIMEOUT' });

const codeOf = ({ message }: Error): string => /^[A-Z]{1,32}(?= |$)/.exec(message)?.[0] ?? 'ERR';

const refusals = new Set(['WRONGPASS', 'NOAUTH', 'NOPERM']);

/** What the server says is left out but for its first word: it may quote what it was sent. */
const unavailable = (host: string, caught: unknown, ErrorReply: new (message: string) => Error): CountersignError => {
  const code = caught instanceof ErrorReply ? codeOf(caught as Error) : undefined;
  const cause = code === undefined ? toNetworkError(caught, host) : new Error(`${host} answered ${code}`);
  const what =
    cause instanceof CountersignError
      ? cause.message
      : refusals.has(code ?? '')
        ? `${host} refuses the user of registry.lease (${code}).`
        : `${host} answered with an error (${code}).`;
  return new CountersignError('unavailable', 'LEASE_UNAVAILABLE', `No leases for writes to tags can be had: ${what}`, {
    retryAfterMs,
    metadata: { host },
    cause,
  });
};

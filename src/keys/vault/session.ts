import { type Context, openContext } from '../../model/context.ts';
import { waitFor } from '../../model/wait.ts';
import type { TlsMaterial } from '../../net/tls.ts';
import type { VaultClient } from './client.ts';
import { createVaultConnections, type VaultConnection } from './connections.ts';
import { isDenied, logIn, renewToken, type VaultToken } from './login.ts';
import type { VaultLogin } from './settings.ts';

/** A connection to one Vault as one identity; many keys share it. Safe to call concurrently. */
export type VaultSession = {
  /**
   * Runs one call with a valid token. Refused (403), it logs in anew once, since that is also how Vault says that a
   * token expired, and runs it again; refused again it throws `KEY_ACCESS_DENIED`.
   */
  call<T>(operation: (client: VaultClient, token: string) => Promise<T>, context: Context): Promise<T>;
  /** What Vault says of its seal, unchecked, asked at most once a minute; undefined when it does not say. */
  sealStatus(context: Context): Promise<unknown>;
  close(): Promise<void>;
};

type Held = VaultToken & {
  /** The one that logged in: a token of a `cert` login is renewed with the same certificate. */
  readonly connection: VaultConnection;
  /** On the clock of performance.now(); Infinity when unknown. */
  readonly expiresAt: number;
  /** The ttl that the login granted, seconds; a renewal may grant less. */
  readonly granted: number | undefined;
};

/** A login may take this long, whatever the deadline of the request that needed it first. */
const loginTimeoutMs = 10_000;
/** A refused token is a reason to log in anew at most this often: a missing permission must not become a login storm. */
const forcedLoginIntervalMs = 5_000;
/** A login that failed is not tried again for the next request before this. */
const failedLoginMs = 1_000;
const longestTimerMs = 2 ** 31 - 1;
/** Keys that are opened meanwhile share one answer about the seal, or the lack of one. */
const sealStatusAgeMs = 60_000;
/** The seal is evidence, not needed to sign: not worth a long wait. */
const sealStatusTimeoutMs = 2_000;

const hold = (token: VaultToken, connection: VaultConnection, granted: number | undefined): Held => ({
  ...token,
  connection,
  granted,
  expiresAt: token.ttl === undefined ? Number.POSITIVE_INFINITY : performance.now() + token.ttl * 1000,
});

/** Runs one call over the connection that a token belongs to; it stays open until the call ended. */
const callWith = async <T>(
  { connection, token }: Held,
  operation: (client: VaultClient, token: string) => Promise<T>,
): Promise<T> => {
  const lease = connection.again();
  try {
    return await operation(lease.value, token);
  } finally {
    await lease.release();
  }
};

/**
 * Opens a session; the first call logs in. Its token is renewed, or replaced by a new login, at two thirds of its life.
 * `connect` makes a client that shows the given certificate.
 */
export const createVaultSession = (
  connect: (certificate: TlsMaterial | undefined) => VaultClient,
  login: VaultLogin,
): VaultSession => {
  const connections = createVaultConnections(connect, login);
  let held: Held | undefined;
  let pending: Promise<Held> | undefined;
  let failed: { readonly error: unknown; readonly until: number } | undefined;
  let forcedAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let seal: { readonly status: Promise<unknown>; readonly until: number } | undefined;
  const closing = new AbortController();

  const inBackground = async <T>(work: (context: Context) => Promise<T>, timeoutMs = loginTimeoutMs): Promise<T> => {
    const owned = openContext('vault-session', timeoutMs);
    const stop = (): void => owned.cancel();
    closing.signal.addEventListener('abort', stop, { once: true });
    try {
      return await work(owned.context);
    } finally {
      closing.signal.removeEventListener('abort', stop);
      owned.dispose();
    }
  };

  /** Jitter keeps the replicas that started together from renewing together. */
  const schedule = (ms: number): void => {
    clearTimeout(timer);
    if (closing.signal.aborted) return;
    timer = setTimeout(() => void refresh(), Math.min(ms * (0.9 + Math.random() / 10), longestTimerMs));
    timer.unref();
  };
  /** Holds another token, or none, from now on. */
  const swap = (next: Held | undefined): void => {
    const before = held;
    held = next;
    if (before !== undefined && before.connection !== next?.connection) void before.connection.release();
  };
  const take = (token: VaultToken, connection: VaultConnection, granted = token.ttl): Held => {
    const next = hold(token, connection, granted);
    swap(next);
    failed = undefined;
    if (token.ttl !== undefined && (token.renewable || login.method !== 'token')) schedule((token.ttl * 2000) / 3);
    return next;
  };
  const connectAndLogIn = async (context: Context): Promise<Held> => {
    const connection = await connections.open();
    try {
      return take(await logIn(connection.value, login, context), connection);
    } catch (caught) {
      await connection.release();
      throw caught;
    }
  };

  const logInOnce = (): Promise<Held> => {
    if (failed !== undefined && performance.now() < failed.until) return Promise.reject(failed.error);
    pending ??= inBackground(connectAndLogIn)
      .catch((error: unknown) => {
        failed = { error, until: performance.now() + failedLoginMs };
        throw error;
      })
      .finally(() => {
        pending = undefined;
      });
    return pending;
  };

  /** What the timer runs: renews, or logs in where that is not possible; failing, tries again until the token expires. */
  const refresh = async (): Promise<void> => {
    const current = held;
    if (current === undefined) return;
    try {
      if (!current.renewable) return void (await logInOnce());
      const renewed = await inBackground((context) =>
        callWith(current, (client, token) => renewToken(client, token, context)),
      );
      if (held !== current) return;
      // Near the end of a token's maximum life Vault grants less and less, at last nothing: a new login is due.
      const waning = (renewed.ttl ?? 0) < (current.granted ?? 0) / 2;
      if (waning && login.method !== 'token') return void (await logInOnce());
      if (renewed.ttl !== undefined) take(renewed, current.connection, current.granted);
    } catch (caught) {
      if (held !== current) return;
      const left = current.expiresAt - performance.now();
      if (login.method !== 'token' && (left <= 0 || isDenied(caught))) {
        swap(undefined);
        // Should this fail too, the next request tries.
        await logInOnce().catch(() => undefined);
      } else if (left > 0) schedule(Math.min(60_000, Math.max(left / 4, 100)));
    }
  };

  const ensure = async (context: Context): Promise<Held> =>
    held !== undefined && performance.now() < held.expiresAt ? held : waitFor(logInOnce(), context);

  /** Another token than the refused one; undefined when there is none to be had. */
  const replace = async (refused: Held, context: Context): Promise<Held | undefined> => {
    if (held !== undefined && held.token !== refused.token) return held;
    if (login.method === 'token' && login.tokenFile === undefined) return undefined;
    // A login that failed says why, and is tried again; the interval bounds those that succeed and still do not help.
    if (pending === undefined && failed === undefined) {
      if (performance.now() - forcedAt < forcedLoginIntervalMs) return undefined;
      forcedAt = performance.now();
    }
    const fresh = await waitFor(logInOnce(), context);
    return fresh.token === refused.token ? undefined : fresh;
  };

  return {
    call: async (operation, context) => {
      const first = await ensure(context);
      try {
        return await callWith(first, operation);
      } catch (caught) {
        const second = isDenied(caught) ? await replace(first, context) : undefined;
        if (second === undefined) throw caught;
        return callWith(second, operation);
      }
    },
    sealStatus: async (context) => {
      const current = await ensure(context);
      if (seal === undefined || performance.now() >= seal.until) {
        const ask = (owned: Context): Promise<unknown> => callWith(current, (client) => client.sealStatus(owned));
        const status = inBackground(ask, sealStatusTimeoutMs).catch(() => undefined);
        seal = { status, until: performance.now() + sealStatusAgeMs };
      }
      return waitFor(seal.status, context);
    },
    close: async () => {
      clearTimeout(timer);
      closing.abort();
      await connections.close();
    },
  };
};

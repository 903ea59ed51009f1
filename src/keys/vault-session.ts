import { type Context, openContext } from '../model/context.ts';
import { waitFor } from '../model/wait.ts';
import type { VaultClient } from './vault-client.ts';
import { isDenied, logIn, renewToken, type VaultToken } from './vault-login.ts';
import type { VaultLogin } from './vault-settings.ts';

/** A connection to one Vault as one identity; many keys share it. Safe to call concurrently. */
export type VaultSession = {
  readonly client: VaultClient;
  /**
   * Runs one call with a valid token. Refused (403), it logs in anew once, since that is also how Vault says that a
   * token expired, and runs it again; refused again it throws `KEY_ACCESS_DENIED`.
   */
  call<T>(operation: (token: string) => Promise<T>, context: Context): Promise<T>;
  close(): Promise<void>;
};

type Held = VaultToken & {
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

const hold = (token: VaultToken, granted: number | undefined): Held => ({
  ...token,
  granted,
  expiresAt: token.ttl === undefined ? Number.POSITIVE_INFINITY : performance.now() + token.ttl * 1000,
});

/** Opens a session; the first call logs in. Its token is renewed, or replaced by a new login, at two thirds of its life. */
export const createVaultSession = (client: VaultClient, login: VaultLogin): VaultSession => {
  let held: Held | undefined;
  let pending: Promise<Held> | undefined;
  let failed: { readonly error: unknown; readonly until: number } | undefined;
  let forcedAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  const closing = new AbortController();

  const inBackground = async <T>(work: (context: Context) => Promise<T>): Promise<T> => {
    const owned = openContext('vault-login', loginTimeoutMs);
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
  const take = (token: VaultToken, granted = token.ttl): Held => {
    held = hold(token, granted);
    failed = undefined;
    if (token.ttl !== undefined && (token.renewable || login.method !== 'token')) schedule((token.ttl * 2000) / 3);
    return held;
  };

  const logInOnce = (): Promise<Held> => {
    if (failed !== undefined && performance.now() < failed.until) return Promise.reject(failed.error);
    pending ??= inBackground((context) => logIn(client, login, context))
      .then((token) => take(token))
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
      const renewed = await inBackground((context) => renewToken(client, current.token, context));
      if (held !== current) return;
      // Near the end of a token's maximum life Vault grants less and less, at last nothing: a new login is due.
      const waning = (renewed.ttl ?? 0) < (current.granted ?? 0) / 2;
      if (waning && login.method !== 'token') return void (await logInOnce());
      if (renewed.ttl !== undefined) take(renewed, current.granted);
    } catch (caught) {
      if (held !== current) return;
      const left = current.expiresAt - performance.now();
      if (login.method !== 'token' && (left <= 0 || isDenied(caught))) {
        held = undefined;
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
    client,
    call: async (operation, context) => {
      const first = await ensure(context);
      try {
        return await operation(first.token);
      } catch (caught) {
        const second = isDenied(caught) ? await replace(first, context) : undefined;
        if (second === undefined) throw caught;
        return operation(second.token);
      }
    },
    close: async () => {
      clearTimeout(timer);
      closing.abort();
      await client.close();
    },
  };
};

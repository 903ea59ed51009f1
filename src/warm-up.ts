import type { OidcCallers } from './callers/oidc.ts';
import type { Keyring } from './keys/keyring.ts';
import { type Context, openContext } from './model/context.ts';
import { toCountersignError } from './model/error.ts';
import type { Logger } from './telemetry/log.ts';

/** How often keys and issuers that could not be reached are tried again in the background, milliseconds. */
const warmEveryMs = 5_000;

/** How long one round may take to open keys, of which there may be a thousand, milliseconds. */
const keysWithinMs = 60_000;

export type WarmUpParts = {
  readonly callers: OidcCallers;
  readonly issuerCount: number;
  readonly keyring: Keyring;
  readonly logger: Logger;
};

export type WarmUp = {
  /** Has at least one issuer's key set been read? */
  issuers(): boolean;
  /** Opens the keys of the warm-up, once the service listens: a thousand of them must not keep it from being ready. */
  openKeys(): void;
  stop(): void;
};

/** Tries until all that failed have succeeded; `attempt` answers whether anything is left. */
const inBackground = (attempt: (context: Context) => Promise<boolean>, withinMs: number, logger: Logger) => {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const once = async (): Promise<void> => {
    const owned = openContext('warm-up', withinMs);
    try {
      const left = await attempt(owned.context);
      if (left && !stopped) timer = setTimeout(start, warmEveryMs).unref();
    } finally {
      owned.dispose();
    }
  };
  const start = (): void => {
    once().catch((error: unknown) => logger.error({ err: toCountersignError(error) }, 'warm-up failed'));
  };
  return {
    start,
    stopped: () => stopped,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
};

/** Reaches for issuers and keys in the background, so that the first caller does not wait for it. */
export const warmUp = ({ callers, issuerCount, keyring, logger }: WarmUpParts): WarmUp => {
  let reached = false;
  const issuers = inBackground(
    async (context) => {
      const failed = await callers.warm(context);
      if (issuers.stopped()) return false; // what failed now, failed because the clients are being closed
      for (const { issuer, error } of failed) logger.warn({ issuer, err: error }, 'issuer out of reach');
      reached ||= failed.length < issuerCount;
      return !reached;
    },
    warmEveryMs,
    logger,
  );
  const keys = inBackground(
    async (context) => {
      const failed = await keyring.warm(context);
      if (keys.stopped()) return false;
      for (const { name, error } of failed) logger.warn({ key: name, err: error }, 'key out of reach');
      return failed.length > 0;
    },
    keysWithinMs,
    logger,
  );
  issuers.start();
  return {
    issuers: () => reached,
    openKeys: keys.start,
    stop: () => {
      issuers.stop();
      keys.stop();
    },
  };
};

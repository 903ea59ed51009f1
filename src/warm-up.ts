import type { OidcCallers } from './callers/oidc.ts';
import type { Keyring } from './keys/keyring.ts';
import { openContext } from './model/context.ts';
import { toCountersignError } from './model/error.ts';
import type { Logger } from './telemetry/log.ts';

/** How often keys and issuers that could not be reached are tried again in the background, milliseconds. */
const warmEveryMs = 5_000;

export type WarmUpParts = {
  readonly callers: OidcCallers;
  readonly issuerCount: number;
  readonly keyring: Keyring;
  readonly logger: Logger;
};

export type WarmUp = {
  /** Has at least one issuer's key set been read? */
  issuers(): boolean;
  stop(): void;
};

/** Reaches for issuers and keys in the background, so that the first caller does not wait for it. */
export const warmUp = ({ callers, issuerCount, keyring, logger }: WarmUpParts): WarmUp => {
  let reached = false;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  const attempt = async (): Promise<void> => {
    const owned = openContext('warm-up', warmEveryMs);
    const [issuers, keys] = await Promise.all([callers.warm(owned.context), keyring.warm(owned.context)]);
    owned.dispose();
    if (stopped) return; // what failed now, failed because the clients are being closed
    for (const { issuer, error } of issuers) logger.warn({ issuer, err: error }, 'issuer out of reach');
    for (const { name, error } of keys) logger.warn({ key: name, err: error }, 'key out of reach');
    reached ||= issuers.length < issuerCount;
    if (!reached || keys.length > 0) timer = setTimeout(start, warmEveryMs).unref();
  };
  const start = (): void => {
    attempt().catch((error: unknown) => logger.error({ err: toCountersignError(error) }, 'warm-up failed'));
  };
  start();
  return {
    issuers: () => reached,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
};

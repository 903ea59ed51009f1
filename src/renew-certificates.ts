import { toCountersignError } from './model/error.ts';
import { readTlsFiles, type TlsFiles, type TlsMaterial } from './net/tls.ts';
import type { Logger } from './telemetry/log.ts';

/** A listener with TLS: its files, and how it is given what they say now. */
export type RenewableListener = {
  readonly name: 'grpc' | 'rest';
  readonly files: TlsFiles;
  renew(material: TlsMaterial): void;
};

export type Renewal = {
  /** Looks at the files as they are now. Never rejects. */
  look(): Promise<void>;
  stop(): void;
};

/** Certificates of SPIFFE or a mesh live for an hour, and are renewed well before their end. */
const lookEveryMs = 10_000;

/**
 * Gives the listeners the certificates, keys and client CAs that their files say, as they change: mounted secrets rotate. Files
 * with a mistake are logged, once for each mistake, and what was there before stays.
 */
export const renewCertificates = (
  listeners: readonly RenewableListener[],
  logger: Logger,
  everyMs: number = lookEveryMs,
): Renewal => {
  const looks = listeners.map((listener) => watch(listener, logger));
  let asked = 0;
  let last = Promise.resolve();
  /** After the one that is under way: that may have read what was there before. */
  const look = (): Promise<void> => {
    asked += 1;
    last = last.then(async () => {
      await Promise.all(looks.map((one) => one()));
      asked -= 1;
    });
    return last;
  };
  const lookUnlessAsked = (): void => {
    if (asked === 0) void look();
  };
  // What they say now is what the listeners began with.
  void look();
  const timer = listeners.length === 0 ? undefined : setInterval(lookUnlessAsked, everyMs).unref();
  return { look, stop: () => clearInterval(timer) };
};

/** -> a look at the files of one listener, which never rejects. */
const watch = ({ name, files, renew }: RenewableListener, logger: Logger): (() => Promise<void>) => {
  let seen: TlsMaterial | undefined;
  let problem: string | undefined;
  return async () => {
    try {
      const material = await readTlsFiles(files);
      problem = undefined;
      if (seen !== undefined && isSame(material, seen)) return;
      renew(material);
      if (seen !== undefined) logger.info({ listener: name, file: files.certFile }, 'a listener has a new certificate');
      seen = material;
    } catch (caught) {
      const error = toCountersignError(caught);
      if (error.message === problem) return;
      problem = error.message;
      logger.warn({ listener: name, err: error }, 'a TLS file changed and cannot be used; what it said before counts');
    }
  };
};

const isSame = (one: TlsMaterial, other: TlsMaterial): boolean =>
  one.cert === other.cert && one.key === other.key && one.ca === other.ca;

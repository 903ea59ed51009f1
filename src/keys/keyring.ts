import { assertLive, type Context, openContext } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';
import { waitFor } from '../model/wait.ts';
import { createHttpClient } from '../net/http.ts';
import type { BackendDeps } from './backends.ts';
import { protects } from './common-settings.ts';
import { createLeases } from './leases.ts';
import type { Key, KeyDescription, ProtectionLevel } from './port.ts';
import { type KeySettings, openKey } from './settings.ts';
import { verifySignatureInBackground } from './verify-signature.ts';

/** A signature and the exact version that made it; verified. */
export type Signed = { readonly signature: Uint8Array; readonly version: KeyVersion };

/** The configured keys by name. Keys are opened when they are first needed. Safe to call concurrently. */
export type Keyring = {
  /** In the order of the configuration. */
  names(): readonly string[];
  /** Opens the key if need be. Throws `not_found`, reason `KEY_UNKNOWN`, for a name that is not configured; else as `Key`. */
  describe(name: string, context: Context): Promise<KeyDescription>;
  /**
   * Signs and verifies with the public key of the version that signed. Throws as `describe`, as `Key.sign`, and
   * `data_loss`, reason `BAD_SIGNATURE`, when the signature does not verify: it is dropped.
   */
  sign(name: string, toSign: ToSign, context: Context): Promise<Signed>;
  /** Opens all keys; answers with those that failed, and never throws for them: they are tried again when needed. */
  warm(context: Context): Promise<readonly { readonly name: string; readonly error: CountersignError }[]>;
  close(): Promise<void>;
};

/** How one key is opened. */
export type KeyOpener = {
  readonly name: string;
  readonly requireProtection: ProtectionLevel | undefined;
  open(context: Context): Promise<Key>;
};

/** Opening may take this long, whatever the deadline of the request that needed the key first. */
const openTimeoutMs = 15_000;
/** A key that failed to open is not tried again before this: a backend that is down is not asked by every request. */
const failedOpenMs = 5_000;
/** After these the pinned version no longer signs: the key is opened anew, and the newest version found. */
const staleReasons = new Set([
  'KEY_VERSION_DISABLED',
  'KEY_VERSION_MISMATCH',
  'KEY_NOT_FOUND',
  'KEY_DISABLED',
  'KEY_PENDING_DELETION',
  'KEY_PENDING_IMPORT',
  'KEY_INVALID_STATE',
]);

type Slot = {
  get(context: Context): Promise<Key>;
  /** Runs work with the key: one that is forgotten meanwhile is closed after the last of it, not under it. */
  using<T>(context: Context, work: (key: Key) => Promise<T>): Promise<T>;
  forget(key: Key): void;
  close(): Promise<void>;
};

const assertProtection = (opener: KeyOpener, { protectionLevel, backend }: KeyDescription): void => {
  const required = opener.requireProtection;
  if (required === undefined || protects(protectionLevel, required)) return;
  throw new CountersignError(
    'failed_precondition',
    'PROTECTION_LEVEL',
    `Key ${opener.name} must be guarded at level ${required}, but its backend (${backend}) states ${protectionLevel}.`,
    { metadata: { key: opener.name, required, stated: protectionLevel } },
  );
};

const openOne = async (opener: KeyOpener, closing: AbortSignal): Promise<Key> => {
  const owned = openContext(`open-key-${opener.name}`, openTimeoutMs);
  closing.addEventListener('abort', owned.cancel, { once: true });
  try {
    const key = await opener.open(owned.context);
    try {
      assertProtection(opener, key.description);
    } catch (caught) {
      await key.close();
      throw caught;
    }
    return key;
  } finally {
    closing.removeEventListener('abort', owned.cancel);
    owned.dispose();
  }
};

/** A failure that may pass asks for another try when the key is tried again, not before. */
const retriedLater = (error: CountersignError): CountersignError => {
  const { code, reason, message, metadata, retryAfterMs } = error;
  if (retryAfterMs === undefined) return error;
  const later = Math.max(retryAfterMs, failedOpenMs);
  return new CountersignError(code, reason, message, { metadata, retryAfterMs: later, cause: error.cause ?? error });
};

/** One key: opened once for all who wait, kept, its failure remembered for a moment. */
const createSlot = (opener: KeyOpener): Slot => {
  let opened: Promise<Key> | undefined;
  let settled: Key | undefined;
  let failedUntil = 0;
  const closing = new AbortController();
  const uses = new Map<Key, number>();
  const forgotten = new Set<Key>();

  const closeUnused = (key: Key): void => {
    if (uses.has(key) || !forgotten.delete(key)) return;
    void key.close().catch(() => undefined);
  };

  const open = (): Promise<Key> => {
    const opening = openOne(opener, closing.signal).then(
      (key) => {
        settled = key;
        return key;
      },
      (caught: unknown) => {
        failedUntil = performance.now() + failedOpenMs;
        throw retriedLater(toCountersignError(caught));
      },
    );
    opened = opening;
    return opening;
  };

  const get = async (context: Context): Promise<Key> => {
    if (settled !== undefined) return settled;
    if (closing.signal.aborted)
      throw new CountersignError('unavailable', 'SHUTTING_DOWN', 'The service is shutting down.');
    const expired = failedUntil !== 0 && performance.now() >= failedUntil;
    if (expired) failedUntil = 0;
    return waitFor(opened === undefined || expired ? open() : opened, context);
  };

  return {
    get,
    using: async (context, work) => {
      let key = await get(context);
      // It may have been forgotten, and closed, since it was found.
      while (key !== settled) key = await get(context);
      uses.set(key, (uses.get(key) ?? 0) + 1);
      try {
        return await work(key);
      } finally {
        const left = (uses.get(key) ?? 1) - 1;
        if (left > 0) uses.set(key, left);
        else uses.delete(key);
        closeUnused(key);
      }
    },
    forget: (key) => {
      if (settled !== key) return;
      settled = undefined;
      opened = undefined;
      forgotten.add(key);
      closeUnused(key);
    },
    close: async () => {
      closing.abort();
      const key = await opened?.catch(() => undefined);
      settled = undefined;
      opened = undefined;
      await key?.close();
    },
  };
};

/** A keyring over any way of opening keys; names must be unique. */
export const createKeyring = (openers: readonly KeyOpener[]): Keyring => {
  const slots = new Map(openers.map((opener) => [opener.name, createSlot(opener)]));

  const slotOf = (name: string): Slot => {
    const slot = slots.get(name);
    if (slot !== undefined) return slot;
    throw new CountersignError('not_found', 'KEY_UNKNOWN', `key: no key named "${name}" is configured.`, {
      metadata: { field: 'key', key: name },
    });
  };

  const sign = async (name: string, toSign: ToSign, context: Context): Promise<Signed> => {
    assertLive(context);
    const slot = slotOf(name);
    const { version, signature } = await slot.using(context, async (key) => {
      try {
        return { version: key.description.signing, signature: await key.sign(toSign, context) };
      } catch (caught) {
        if (caught instanceof CountersignError && staleReasons.has(caught.reason)) slot.forget(key);
        throw caught;
      }
    });
    if (await verifySignatureInBackground(version, toSign, signature)) return { signature, version };
    throw new CountersignError(
      'data_loss',
      'BAD_SIGNATURE',
      `Key ${name} made a signature that its public key does not verify; it was dropped. The key's backend needs attention.`,
      { metadata: { key: name, version: version.version } },
    );
  };

  return {
    names: () => [...slots.keys()],
    describe: async (name, context) => (await slotOf(name).get(context)).description,
    sign,
    warm: async (context) => {
      const outcomes = await Promise.all(
        [...slots].map(async ([name, slot]) => {
          try {
            await slot.get(context);
            return undefined;
          } catch (caught) {
            return { name, error: toCountersignError(caught) };
          }
        }),
      );
      return outcomes.filter((outcome) => outcome !== undefined);
    },
    close: async () => {
      await Promise.allSettled([...slots.values()].map((slot) => slot.close()));
    },
  };
};

/** The keyring of a configuration; nothing is opened or asked yet. */
export const openKeyring = (settings: readonly KeySettings[], deps: Partial<BackendDeps> = {}): Keyring => {
  const all: BackendDeps = {
    createHttp: createHttpClient,
    vaultSessions: createLeases(),
    awsClients: createLeases(),
    ...deps,
  };
  return createKeyring(
    settings.map((each) => ({
      name: each.name,
      requireProtection: each.requireProtection,
      open: (context) => openKey(each, all, context),
    })),
  );
};

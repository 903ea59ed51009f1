import type { Context } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { KeyVersion, ToSign } from '../model/signature.ts';
import { createHttpClient } from '../net/http.ts';
import type { BackendDeps } from './backends.ts';
import { assertFips } from './fips.ts';
import { createGroup } from './group.ts';
import type { GroupSettings } from './group-settings.ts';
import { type HeldKey, type KeySource, singleKey } from './key-source.ts';
import { createLeases } from './leases.ts';
import type { Key, KeyDescription } from './port.ts';
import type { QuotaSettings } from './quota.ts';
import type { ConfiguredKey } from './configured.ts';
import { type KeySettings, openKey } from './settings.ts';
import { createSigner } from './signer.ts';
import { createSlot, type KeyOpener, shuttingDown } from './slot.ts';
import { signWith } from './sign-with.ts';

/** A signature and the exact version that made it; verified. */
export type Signed = { readonly signature: Uint8Array; readonly version: KeyVersion };

/** The configured keys by name. Keys are opened when they are first needed. Safe to call concurrently. */
export type Keyring = {
  /** In the order of the configuration. */
  names(): readonly string[];
  /** Opens the key if need be. Throws `not_found`, reason `KEY_UNKNOWN`, for a name that is not configured; else as `Key`. */
  describe(name: string, context: Context): Promise<KeyDescription>;
  /**
   * Takes the key for one request, which signs with the same version throughout whatever happens to the key meanwhile.
   * `failed`: members of a group that this request has tried already. Throws as `describe`. What it signs is verified.
   */
  hold(name: string, context: Context, failed?: ReadonlySet<string>): Promise<HeldKey>;
  /** Signs once, with another member of a group after one that failed. Throws as `describe` and as `Signer.sign`. */
  sign(name: string, toSign: ToSign, context: Context): Promise<Signed>;
  /** Opens the keys of the warm-up; answers with those that failed, and never throws for them: they are tried again when needed. */
  warm(context: Context): Promise<readonly { readonly name: string; readonly error: CountersignError }[]>;
  close(): Promise<void>;
};

/** One key of a keyring: how it is opened, its limits, whether it is opened at the start. */
export type KeyEntry = Omit<KeyOpener, 'refreshMs'> & {
  readonly refreshMs?: number;
  readonly limits?: QuotaSettings | undefined;
  readonly warmUp?: boolean;
};

/** How many keys are opened at once in the warm-up. */
const warmAtOnce = 8;
/** Up to so many keys are all opened at the start, unless they say otherwise. */
const fewKeys = 100;
const defaultRefreshMs = 60_000;

const sourceOf = ({ limits, ...opener }: KeyEntry): KeySource => {
  const slot = createSlot({ ...opener, refreshMs: opener.refreshMs ?? 0 });
  return singleKey(opener.name, slot, createSigner(opener.name, limits, slot.failed));
};

/** A keyring over any way of opening keys; names must be unique, and the members of groups among the entries. */
export const createKeyring = (entries: readonly KeyEntry[], groups: readonly GroupSettings[] = []): Keyring => {
  // What a key needs is made when it is first asked for: ten thousand that are configured cost next to nothing.
  const makers = new Map<string, () => KeySource>();
  const sources = new Map<string, KeySource>();
  let closed = false;
  const sourceFor = (name: string): KeySource => {
    const known = sources.get(name);
    if (known !== undefined) return known;
    const make = makers.get(name);
    if (make === undefined) {
      throw new CountersignError('not_found', 'KEY_UNKNOWN', `key: no key named "${name}" is configured.`, {
        metadata: { field: 'key', key: name },
      });
    }
    if (closed) throw shuttingDown();
    const source = make();
    sources.set(name, source);
    return source;
  };
  for (const entry of entries) makers.set(entry.name, () => sourceOf(entry));
  for (const group of groups) {
    makers.set(group.name, () =>
      createGroup(
        group,
        group.members.map(({ key }) => sourceFor(key)),
      ),
    );
  }

  const describe: Keyring['describe'] = async (name, context) => sourceFor(name).describe(context);
  const hold: Keyring['hold'] = async (name, context, failed = none) => sourceFor(name).hold(context, failed);

  return {
    names: () => [...makers.keys()],
    describe,
    hold,
    sign: async (name, toSign, context) =>
      signWith({ hold }, name, context, async (held) => ({
        signature: await held.sign(toSign, context),
        version: held.description.signing,
      })),
    warm: async (context) => {
      const waiting = entries.filter(({ warmUp }) => warmUp ?? entries.length <= fewKeys).map(({ name }) => name);
      const failed: { readonly name: string; readonly error: CountersignError }[] = [];
      const lane = async (): Promise<void> => {
        for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
          const one = name;
          await describe(one, context).catch((caught: unknown) =>
            failed.push({ name: one, error: toCountersignError(caught) }),
          );
        }
      };
      await Promise.all(Array.from({ length: warmAtOnce }, lane));
      return failed;
    },
    close: async () => {
      closed = true;
      await Promise.allSettled([...sources.values()].toReversed().map((source) => source.close()));
    },
  };
};

const none: ReadonlySet<string> = new Set();

const refreshMsOf = (settings: KeySettings): number => {
  if (settings.refreshSeconds !== undefined) return settings.refreshSeconds * 1000;
  return settings.kind === 'local' ? 0 : defaultRefreshMs;
};

/** The operator's word about the module goes with what the backend states, and says whose it is. */
const withCertificate = (key: Key, settings: KeySettings): Key => {
  const certificate = 'fipsCertificate' in settings ? settings.fipsCertificate : undefined;
  if (certificate === undefined) return key;
  const evidence = { ...key.description.evidence, 'CMVP certificate (as configured)': String(certificate) };
  return { ...key, description: { ...key.description, evidence } };
};

export type KeyringOptions = {
  /** Only keys that stand the rules of `fips.ts` sign. */
  readonly fips?: boolean;
};

/** The keyring of a configuration; nothing is opened or asked yet. */
export const openKeyring = (
  configured: readonly ConfiguredKey[],
  deps: Partial<BackendDeps> = {},
  { fips = false }: KeyringOptions = {},
): Keyring => {
  const all: BackendDeps = {
    createHttp: createHttpClient,
    vaultSessions: createLeases(),
    awsClients: createLeases(),
    pkcs11Clients: createLeases(),
    gcpClients: createLeases(),
    azureClients: createLeases(),
    ...deps,
  };
  const groups = configured.flatMap((each) => (each.kind === 'group' ? [each] : []));
  const entries = configured
    .flatMap((each) => (each.kind === 'group' ? [] : [each]))
    .map(
      (each): KeyEntry => ({
        name: each.name,
        requireProtection: each.requireProtection,
        refreshMs: refreshMsOf(each),
        limits: each.limits,
        // With fips what a key is must be known before the service starts.
        ...(fips ? { warmUp: true, check: (description) => assertFips(each, description) } : {}),
        ...(fips || each.warmUp === undefined ? {} : { warmUp: each.warmUp }),
        open: async (context) => withCertificate(await openKey(each, all, context), each),
      }),
    );
  return createKeyring(entries, groups);
};

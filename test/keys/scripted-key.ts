// Keys whose behaviour a test decides: real signatures, scripted failures, counted openings and closings.
import { openLocalKey } from '../../src/keys/local.ts';
import { localSettings } from '../../src/keys/local/settings.ts';
import type { KeyEntry } from '../../src/keys/keyring.ts';
import type { Key, KeyDescription } from '../../src/keys/port.ts';
import { CountersignError } from '../../src/model/error.ts';

export const message = { kind: 'message', message: Buffer.from('to be signed') } as const;

/** A new P-256 key. */
export const realKey = (name = 'k'): Promise<Key> =>
  openLocalKey(localSettings.parse({ name, kind: 'local', generate: 'ecdsa-p256-sha256' }));

export const unavailable = (retryAfterMs?: number): CountersignError =>
  new CountersignError('unavailable', 'KEY_UNAVAILABLE', 'down', retryAfterMs === undefined ? {} : { retryAfterMs });
export const refused = (reason: string): CountersignError =>
  new CountersignError('failed_precondition', reason, `refused: ${reason}`);

export type ScriptedKey = KeyEntry & {
  /** What the next openings and signatures do; by default they succeed. */
  onOpen: (opened: number) => Promise<void> | void;
  onSign: (signed: number) => Promise<void> | void;
  /** The key that is opened: another one is a rotation. */
  key: Key;
  facts: Partial<KeyDescription>;
  readonly counts: { opened: number; closed: number; signed: number };
};

export const scriptedKey = async (name = 'k', more: Partial<KeyEntry> = {}): Promise<ScriptedKey> => {
  const scripted: ScriptedKey = {
    name,
    requireProtection: undefined,
    onOpen: () => {},
    onSign: () => {},
    key: await realKey(name),
    facts: {},
    counts: { opened: 0, closed: 0, signed: 0 },
    open: async () => {
      scripted.counts.opened += 1;
      await scripted.onOpen(scripted.counts.opened);
      const { key } = scripted;
      return {
        description: { ...key.description, ...scripted.facts },
        sign: async (toSign, context) => {
          scripted.counts.signed += 1;
          await scripted.onSign(scripted.counts.signed);
          return key.sign(toSign, context);
        },
        close: async () => {
          scripted.counts.closed += 1;
        },
      };
    },
    ...more,
  };
  return scripted;
};

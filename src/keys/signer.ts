import { assertLive, type Context } from '../model/context.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { ToSign } from '../model/signature.ts';
import { withRetry } from '../net/retry.ts';
import { createRetryBudget } from '../net/retry-budget.ts';
import { recordKeyRetry } from '../telemetry/metrics.ts';
import { createBreaker } from './breaker.ts';
import { type Key, maxBatch } from './port.ts';
import { createQuota, type QuotaSettings } from './quota.ts';
import { isQuicklyVerified, verifySignature, verifySignatureInBackground } from './verify-signature.ts';

/** `hurried`: another key can do it, so nothing is tried again that takes longer than a moment. Default: patient. */
export type Haste = 'patient' | 'hurried';

/** A signature, or why that one could not be made. */
export type SignOutcome = Uint8Array | CountersignError;

/**
 * How one configured key signs, whatever its kind: in its turn within the key's quota, with retries of what may pass inside
 * the caller's deadline and the retry budget, behind a breaker, and verified. Safe to call concurrently.
 */
export type Signer = {
  /**
   * Throws as `Key.sign`; `resource_exhausted`, reason `KEY_QUOTA`; `unavailable`, reason `KEY_BREAKER_OPEN`; `data_loss`,
   * reason `BAD_SIGNATURE`, when the signature does not verify: it is dropped.
   */
  sign(key: Key, toSign: ToSign, context: Context, haste?: Haste): Promise<Uint8Array>;
  /** In order; by the backend's own batch where it has one. Rejects only when nothing was tried. */
  signMany(key: Key, toSigns: readonly ToSign[], context: Context, haste?: Haste): Promise<readonly SignOutcome[]>;
  /** Refuses whoever waits. */
  close(): void;
};

/** Attempts in all. A retry costs quota and money. */
const tries = 3;
const firstWaitMs = 50;

const noTurn = (): void => {};

/** What asks for a longer wait is told to the caller, who can wait without holding a place: a sealed Vault, a spent quota. */
const longestWaitMs: Readonly<Record<Haste, number>> = { patient: 1_000, hurried: 250 };

const maySoonPass =
  (haste: Haste) =>
  (error: unknown): boolean =>
    error instanceof CountersignError && error.retryAfterMs !== undefined && error.retryAfterMs <= longestWaitMs[haste];
const retryable = { patient: maySoonPass('patient'), hurried: maySoonPass('hurried') };

export const createSigner = (
  name: string,
  limits: QuotaSettings | undefined,
  onError: (key: Key, error: CountersignError) => void,
): Signer => {
  const quota = limits === undefined ? undefined : createQuota(limits, { key: name });
  const breaker = createBreaker({ key: name });
  const budget = createRetryBudget();
  /** Single signatures that have not been answered yet. */
  let underWay = 0;

  const inTurn = async <T>(
    key: Key,
    work: () => Promise<T>,
    context: Context,
    messages: number,
    haste: Haste,
  ): Promise<T> => {
    assertLive(context);
    const release = quota === undefined ? noTurn : await quota.acquire(context.caller ?? '', context, messages);
    const attempt = (count: number): Promise<T> => {
      if (count > 1) recordKeyRetry(name);
      return work();
    };
    try {
      budget.deposited();
      // One attempt to the breaker, however often it is tried: what it then answers is the backend's own error.
      const pass = breaker.assertClosed();
      try {
        const options = { tries, context, baseMs: firstWaitMs, budget, retryable: retryable[haste] };
        const answer = await withRetry(attempt, options);
        breaker.succeeded(pass);
        return answer;
      } catch (caught) {
        const error = toCountersignError(caught);
        breaker.failed(error, pass);
        onError(key, error);
        throw error;
      }
    } finally {
      release();
    }
  };

  /** The hop to a thread and back is as long as a quick verification: whoever is alone is spared it. */
  const verifies = ({ description: { signing } }: Key, toSign: ToSign, signature: Uint8Array) =>
    underWay === 1 && isQuicklyVerified(signing.algorithm)
      ? verifySignature(signing, toSign, signature)
      : verifySignatureInBackground(signing, toSign, signature);

  const badSignature = ({ description: { signing } }: Key): CountersignError =>
    new CountersignError(
      'data_loss',
      'BAD_SIGNATURE',
      `Key ${name} made a signature that its public key does not verify; it was dropped. The key's backend needs attention.`,
      { metadata: { key: name, version: signing.version } },
    );

  const sign: Signer['sign'] = async (key, toSign, context, haste = 'patient') => {
    underWay += 1;
    try {
      const signature = await inTurn(key, () => key.sign(toSign, context), context, 1, haste);
      if (await verifies(key, toSign, signature)) return signature;
      throw badSignature(key);
    } finally {
      underWay -= 1;
    }
  };

  const batch = async (
    key: Key,
    toSigns: readonly ToSign[],
    context: Context,
    haste: Haste,
  ): Promise<readonly SignOutcome[]> => {
    const work = async (): Promise<readonly SignOutcome[]> => (await key.signMany?.(toSigns, context)) ?? [];
    const outcomes = await inTurn(key, work, context, toSigns.length, haste);
    return Promise.all(
      toSigns.map(async (toSign, index) => {
        const outcome = outcomes[index] ?? missing(name);
        if (outcome instanceof CountersignError) return outcome;
        const good = await verifySignatureInBackground(key.description.signing, toSign, outcome);
        return good ? outcome : badSignature(key);
      }),
    );
  };

  return {
    close: () => quota?.close(),
    sign,
    signMany: async (key, toSigns, context, haste = 'patient') => {
      const [only, second] = toSigns;
      if (key.signMany === undefined || only === undefined || second === undefined) {
        return settle(toSigns.map((toSign) => sign(key, toSign, context, haste)));
      }
      const parts: ToSign[][] = [];
      for (let start = 0; start < toSigns.length; start += maxBatch) parts.push(toSigns.slice(start, start + maxBatch));
      const outcomes = parts.map((part) =>
        batch(key, part, context, haste).catch((caught: unknown) => part.map(() => toCountersignError(caught))),
      );
      return (await Promise.all(outcomes)).flat();
    },
  };
};

const settle = (signatures: readonly Promise<Uint8Array>[]): Promise<readonly SignOutcome[]> =>
  Promise.all(signatures.map((signature) => signature.catch(toCountersignError)));

const missing = (name: string): CountersignError =>
  new CountersignError('data_loss', 'KEY_ANSWER_MALFORMED', `The backend of key ${name} left a signature out.`);

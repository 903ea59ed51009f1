// One request to a key behind a scripted proxy, and how it may end.
import assert from 'node:assert/strict';
import { createHash, type KeyObject, verify } from 'node:crypto';
import { inspect } from 'node:util';
import type { Keyring } from '../../../src/keys/keyring.ts';
import { openContext } from '../../../src/model/context.ts';
import { CountersignError, type ErrorCode } from '../../../src/model/error.ts';
import type { ToSign } from '../../../src/model/signature.ts';
import { redact } from '../../../src/telemetry/redact.ts';
import type { FaultProxy } from './fault-script.ts';

/** How a request ends. `attempts`: exchanges with the backend that it cost; undefined where clocks have a part in it. */
export type Expected = { readonly code: ErrorCode; readonly reason: string; readonly attempts: number | undefined };

export const mayPass = { code: 'unavailable', reason: 'KEY_UNAVAILABLE', attempts: 3 } as const;
export const refusedFor = (reason: string): Expected => ({ code: 'failed_precondition', reason, attempts: 1 });
export const unusable = (reason = 'KEY_ANSWER_MALFORMED'): Expected => ({ code: 'data_loss', reason, attempts: 1 });

/** A backend with a P-256 key, and a proxy before it. */
export type FaultWorld<Refusal> = {
  readonly proxy: FaultProxy<Refusal>;
  /** A keyring that asks for its key `subject` through the proxy. */
  openRing(): Keyring;
  /** As the backend gives it when it is asked directly. */
  readonly publicKey: KeyObject;
  readonly secrets: readonly string[];
  /** Milliseconds that three attempts fit into. Default: 8,000. */
  readonly patientMs?: number;
};

/** One row of a backend's table. `opening`: how it ends where the key is opened, when that differs; false: not said there. */
export type Row<Refusal> = {
  readonly name: string;
  readonly refusal: Refusal;
  readonly expected: Expected;
  readonly opening?: Expected | false;
};

/** Of a fault while it signs, and while the key is opened. */
export type Both = { readonly sign: Expected; readonly open: Expected };
export const alike = (expected: Expected): Both => ({ sign: expected, open: expected });

/** Long enough for three attempts; and what a request gets that meets a backend that hangs. */
export const patientMs = 8_000;
export const shortMs = 1_000;
/** What may pass between the deadline and the answer, on a busy machine. */
export const marginMs = 1_500;

const codes = ['unavailable', 'resource_exhausted', 'failed_precondition', 'data_loss', 'deadline_exceeded'];

export const whole = (bytes: Buffer): ToSign => ({ kind: 'message', message: bytes });
export const digested = (bytes: Buffer): ToSign => ({
  kind: 'digest',
  digest: createHash('sha256').update(bytes).digest(),
});

export type End = { readonly error: CountersignError | undefined; readonly attempts: number };

/** Ends in time with a signature that verifies, or with an error of ours that keeps secrets. */
export const ask = async <Refusal>(
  world: FaultWorld<Refusal>,
  ring: Keyring,
  bytes: Buffer,
  {
    ms = world.patientMs ?? patientMs,
    as = whole,
    leg = 'sign',
  }: { ms?: number; as?: typeof whole; leg?: 'sign' | 'open' } = {},
): Promise<End> => {
  const { proxy, publicKey, secrets } = world;
  const owned = openContext('faults', ms);
  const before = proxy.count(leg);
  const began = performance.now();
  let error: CountersignError | undefined;
  try {
    const { signature } = await ring.sign('subject', as(bytes), owned.context);
    assert.ok(verify('sha256', bytes, publicKey, signature), 'a bad signature left');
  } catch (caught) {
    assert.ok(caught instanceof CountersignError, `not typed: ${inspect(caught)}`);
    assertTyped(caught, secrets);
    error = caught;
  } finally {
    owned.dispose();
  }
  const took = performance.now() - began;
  assert.ok(took < ms + marginMs, `took ${took} ms of ${ms}`);
  return { error, attempts: proxy.count(leg) - before };
};

/** What callers see holds no secret, nor does the error with its causes once the log has taken out what looks like one. */
const assertTyped = (error: CountersignError, secrets: readonly string[]): void => {
  assert.ok(codes.includes(error.code), `${error.code} ${inspect(error)}`);
  const shown = JSON.stringify([error.message, error.metadata, error.violations]);
  const logged = redact(inspect(error, { depth: 12, maxStringLength: null }));
  for (const secret of secrets) assert.ok(!`${shown} ${logged}`.includes(secret), `a secret in ${shown} or ${logged}`);
};

export const assertEnds = ({ error, attempts }: End, expected: Expected, what: string): void => {
  const { code, reason, attempts: wanted = attempts } = expected;
  assert.deepEqual([error?.code, error?.reason, attempts], [code, reason, wanted], what);
  if (triedAgain(expected)) assert.ok((error?.retryAfterMs ?? 0) > 0, `${what}: when to come again`);
};
/** Is this what is tried again by itself? */
export const triedAgain = ({ attempts }: Expected): boolean => attempts === undefined || attempts === 3;
export const assertSigned = ({ error, attempts }: End, wanted: number, what: string): void => {
  assert.deepEqual([error, attempts], [undefined, wanted], what);
};

// What no fault of a backend, or of what stands before it, makes any kind of key do: answer late, in another way than with a
// typed error of ours, with a secret, or with a signature that does not verify. A kind's test calls `faultContract` with its
// backend behind a scripted proxy, and with the table of what that backend says when it refuses.
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { ecdsaDerToRaw } from '../../../src/codec/ecdsa.ts';
import type { Keyring } from '../../../src/keys/keyring.ts';
import { openContext } from '../../../src/model/context.ts';
import { CountersignError } from '../../../src/model/error.ts';
import {
  alike,
  ask,
  assertEnds,
  assertSigned,
  type Both,
  digested,
  type Expected,
  type FaultWorld,
  marginMs,
  mayPass,
  patientMs,
  type Row,
  shortMs,
  triedAgain,
  unusable,
  whole,
} from './fault-ask.ts';
import { type Encoding, flipped, forgeries, garbled, otherS, type Real, stranger } from './fault-forgeries.ts';
import type { Fault, Json, TransportFault } from './fault-script.ts';

const delayMs = 200;

/** Of the answer that gives the public key: what is wrong with it, and how the first signature then ends. */
export type WrongKey = { readonly change: (answer: Json, other: KeyObject) => unknown; readonly expected: Expected };

export type FaultSubject<Refusal> = {
  readonly label: string;
  readonly skip?: string | false;
  /** Ends with the test. */
  start(t: TestContext): Promise<FaultWorld<Refusal>>;
  readonly encoding: Encoding;
  /** An answer to a request to sign (the first one of a batch) with another signature; what else protects it is made to fit. */
  readonly withSignature: (answer: Json, change: (signature: Buffer) => Buffer) => unknown;
  /** Other ways in which an answer to a request to sign may lie. */
  readonly lies: Readonly<Record<string, { readonly change: (answer: Json) => unknown; readonly expected: Expected }>>;
  /** The public key that is cut off, of P-384, of another key of P-256. */
  readonly wrongKeys: Readonly<Record<'truncated' | 'of another curve' | 'of another key', WrongKey>>;
  /** Bytes that are no answer, and how they end. */
  readonly garbage: Both & { readonly bytes: readonly string[] };
  readonly flood: Both;
  /** Of a connection that breaks. Default: `mayPass`. */
  readonly breaks?: Both;
  /** How many garbled answers are tried. Default: 50. */
  readonly garbledRounds?: number;
  /** Undefined where there are no redirects. */
  readonly redirect?: Expected;
  readonly table: readonly Row<Refusal>[];
};

const broken: readonly TransportFault['kind'][] = ['reset', 'cut', 'half'];
const silent: readonly TransportFault['kind'][] = ['hang', 'stall'];
const late = { code: 'deadline_exceeded', reason: 'DEADLINE_EXCEEDED', attempts: 1 } as const;

const message = (text: string): Buffer => Buffer.from(`to be signed: ${text}`);
const fault = (kind: TransportFault['kind']): TransportFault => (kind === 'delay' ? { kind, ms: delayMs } : { kind });

export const faultContract = <Refusal>(subject: FaultSubject<Refusal>): void => {
  const { label, encoding, withSignature, wrongKeys, garbage, flood, redirect, table } = subject;
  const { breaks = alike(mayPass), garbledRounds = 50 } = subject;

  type World = FaultWorld<Refusal>;
  type Opened = World & { readonly ring: Keyring };
  const unopenedIn = (t: TestContext, world: World): Keyring => {
    const ring = world.openRing();
    t.after(() => ring.close());
    return ring;
  };
  const openedIn = async (t: TestContext, world: World): Promise<Keyring> => {
    const ring = unopenedIn(t, world);
    await ring.describe('subject', openContext('open', world.patientMs ?? patientMs).context);
    return ring;
  };
  const opened = async (t: TestContext): Promise<Opened> => {
    const world = await subject.start(t);
    return { ...world, ring: await openedIn(t, world) };
  };

  /** While it signs: once, where that may pass, is not seen; for good, it ends as expected; then all is well again. */
  const whileSigning = async (
    world: World,
    ring: Keyring,
    injected: Fault<Refusal>,
    expected: Expected,
  ): Promise<void> => {
    const bytes = message(injected.kind);
    if (triedAgain(expected)) {
      world.proxy.inject('sign', injected, 1);
      assertSigned(await ask(world, ring, bytes), 2, 'once');
    }
    world.proxy.inject('sign', injected);
    assertEnds(await ask(world, ring, bytes), expected, 'while it signs');
    world.proxy.heal();
    assertSigned(await ask(world, ring, message('after')), 1, 'healed');
  };

  /** The same while the key is opened; a key that did not open has signed nothing. */
  const whileOpening = async (
    t: TestContext,
    world: World,
    injected: Fault<Refusal>,
    expected: Expected,
  ): Promise<void> => {
    const { proxy } = world;
    const first = { leg: 'open' } as const;
    if (triedAgain(expected)) {
      proxy.inject('open', injected, 1);
      assertSigned(await ask(world, unopenedIn(t, world), message('open'), first), 2, 'once');
    }
    const signed = proxy.count('sign');
    proxy.inject('open', injected);
    assertEnds(await ask(world, unopenedIn(t, world), message('open'), first), expected, 'while it is opened');
    assert.equal(proxy.count('sign'), signed, 'nothing was signed');
    proxy.heal();
  };

  /** `opening`: false where it is not said there. */
  const always = async (
    t: TestContext,
    injected: Fault<Refusal>,
    expected: Expected,
    opening: Expected | false = expected,
  ): Promise<void> => {
    const { ring, ...world } = await opened(t);
    await whileSigning(world, ring, injected, expected);
    if (opening !== false) await whileOpening(t, world, injected, opening);
  };

  describe(`${label}: faults`, { skip: subject.skip ?? false, concurrency: 4 }, () => {
    for (const kind of broken) {
      test(`${kind}: ${breaks.sign.reason}`, (t) => always(t, fault(kind), breaks.sign, breaks.open));
    }

    for (const kind of silent) {
      test(`${kind}: the deadline is kept`, async (t) => {
        const { ring, ...world } = await opened(t);
        const { proxy } = world;
        proxy.inject('sign', fault(kind), 1);
        assertEnds(await ask(world, ring, message(kind), { ms: shortMs }), late, 'while it signs');
        proxy.heal();
        assert.equal((await ask(world, ring, message('after'))).error, undefined);
        const signed = proxy.count('sign');
        proxy.inject('open', fault(kind), 1);
        const { error } = await ask(world, unopenedIn(t, world), message(kind), { ms: shortMs });
        assert.deepEqual([error?.code, proxy.count('sign')], [late.code, signed], 'while it is opened');
        proxy.heal();
      });
    }

    test('delay: waited for within the deadline; a late answer goes to nobody else', async (t) => {
      const world = await opened(t);
      world.proxy.inject('sign', fault('delay'), 1);
      assertSigned(await ask(world, world.ring, message('delayed')), 1, 'in time');
      world.proxy.inject('sign', { kind: 'delay', ms: 2 * shortMs }, 1);
      assertEnds(await ask(world, world.ring, message('late'), { ms: shortMs }), late, 'late');
      for (let round = 0; round < 5; round++) {
        assertSigned(await ask(world, world.ring, message(`next ${round}`)), 1, 'next');
        await new Promise((resolve) => setTimeout(resolve, shortMs / 4));
      }
    });

    test('cancelled while it hangs: let go at once', async (t) => {
      const world = await opened(t);
      world.proxy.inject('sign', { kind: 'hang' }, 1);
      const owned = openContext('cancelled', patientMs);
      const began = performance.now();
      setTimeout(owned.cancel, delayMs);
      const signing = world.ring.sign('subject', whole(message('cancelled')), owned.context);
      await assert.rejects(signing, { code: 'cancelled' });
      assert.ok(performance.now() - began < delayMs + marginMs);
      owned.dispose();
    });

    test('an answer without end is cut off', (t) => always(t, { kind: 'flood' }, flood.sign, flood.open));

    if (redirect !== undefined) {
      test('a redirect is not followed', async (t) => {
        const { ring, ...world } = await opened(t);
        await whileSigning(world, ring, { kind: 'redirect' }, redirect);
        assert.equal(world.proxy.followed(), 0);
      });
    }

    for (const { name, refusal, expected, opening } of table) {
      test(`${name}: ${expected.reason}`, (t) => always(t, { kind: 'refusal', refusal }, expected, opening));
    }

    /** Signs twice unharmed, and says what the backend made for the second message. */
    const realOf = async ({ proxy, ring }: Opened, bytes: Buffer, as: typeof whole): Promise<Real> => {
      const seen: Buffer[] = [];
      const change = (answer: Json): unknown =>
        withSignature(answer, (signature) => {
          seen.push(signature);
          return signature;
        });
      for (const each of [message('earlier'), bytes]) {
        proxy.inject('sign', { kind: 'rewrite', change }, 1);
        await ring.sign('subject', as(each), openContext('real', patientMs).context);
      }
      const [earlier, signature] = seen;
      assert.ok(earlier !== undefined && signature !== undefined);
      const raw = encoding === 'raw' ? signature : ecdsaDerToRaw(signature, 'P-256');
      assert.ok(raw?.length === 64);
      return { message: bytes, encoding, signature, raw, earlier };
    };

    for (const as of [whole, digested]) {
      const way = as === whole ? 'message' : 'digest';
      test(`no bad signature of a ${way} leaves`, async (t) => {
        const world = await opened(t);
        const bytes = message('forged');
        const real = await realOf(world, bytes, as);
        for (const { name, forge, reasons } of forgeries) {
          const change = (answer: Json): unknown => withSignature(answer, () => forge(real));
          world.proxy.inject('sign', { kind: 'rewrite', change }, 1);
          assertEnds(await ask(world, world.ring, bytes, { as }), unusable(reasons[encoding]), name);
        }
        const change = (answer: Json): unknown => withSignature(answer, () => otherS(real));
        world.proxy.inject('sign', { kind: 'rewrite', change }, 1);
        assertSigned(await ask(world, world.ring, bytes, { as }), 1, 'the other s is as good');
        assertSigned(await ask(world, world.ring, bytes, { as }), 1, 'after all that');
      });
    }

    test('one bad signature among many: its own error, the others leave', async (t) => {
      const world = await opened(t);
      const all = ['one', 'two', 'three'].map(message);
      const context = openContext('many', patientMs).context;
      const held = await world.ring.hold('subject', context);
      t.after(held.release);
      world.proxy.inject('sign', { kind: 'rewrite', change: (answer) => withSignature(answer, flipped) }, 1);
      const outcomes = await held.signMany(all.map(whole), context);
      const reasons = outcomes.map((outcome, index) => {
        if (outcome instanceof CountersignError) return outcome.reason;
        assert.ok(verify('sha256', all[index] ?? assert.fail(), world.publicKey, outcome), 'a bad signature left');
        return 'good';
      });
      assert.deepEqual(reasons.toSorted(), ['BAD_SIGNATURE', 'good', 'good']);
    });

    for (const [name, { change, expected }] of Object.entries(subject.lies)) {
      test(`${name}: ${expected.reason}`, (t) => always(t, { kind: 'rewrite', change }, expected, false));
    }

    test(`what is no answer: ${garbage.sign.reason}`, async (t) => {
      const { ring, ...world } = await opened(t);
      for (const text of garbage.bytes) {
        const injected: Fault<Refusal> = { kind: 'garble', change: () => Buffer.from(text) };
        // A ring of its own where retries are made: its budget for them is shared by all that it signs.
        const own = triedAgain(garbage.sign) ? await openedIn(t, world) : ring;
        await whileSigning(world, own, injected, garbage.sign);
        await whileOpening(t, world, injected, garbage.open);
      }
    });

    test('whatever becomes of the bytes of an answer, no bad signature leaves', async (t) => {
      const world = await opened(t);
      let { ring } = world;
      const ends = new Set<string>();
      for (let seed = 1; seed <= garbledRounds; seed++) {
        world.proxy.inject('sign', { kind: 'garble', change: (bytes) => garbled(bytes, seed) });
        const { error } = await ask(world, ring, message(`garbled ${seed}`), { ms: shortMs });
        ends.add(error?.code ?? 'signed');
        world.proxy.heal();
        // So that neither the breaker nor the retry budget answers in place of the backend.
        if (error !== undefined && error.code !== 'data_loss') ring = await openedIn(t, world);
      }
      assert.ok(ends.has('data_loss') || ends.has('unavailable'), [...ends].join());
    });

    for (const [name, { change, expected }] of Object.entries(wrongKeys)) {
      test(`a public key that is ${name}: ${expected.reason}`, async (t) => {
        const world = await subject.start(t);
        const other =
          name === 'of another key' ? stranger.publicKey : generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey;
        world.proxy.inject('open', { kind: 'rewrite', change: (answer) => change(answer, other) });
        const opens = expected.reason === 'BAD_SIGNATURE';
        assertEnds(await ask(world, unopenedIn(t, world), message(name), { leg: 'open' }), expected, name);
        assert.equal(world.proxy.count('sign') > 0, opens, 'signed only where it cannot be seen before');
      });
    }
  });
};

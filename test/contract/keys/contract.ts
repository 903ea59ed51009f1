// What every kind of key promises, whatever holds it. A kind's test calls `keyContract` with a way to open a keyring.
import assert from 'node:assert/strict';
import { constants, createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { test } from 'node:test';
import { algorithms } from '../../../src/keys/algorithms.ts';
import type { Keyring } from '../../../src/keys/keyring.ts';
import type { ProtectionLevel } from '../../../src/keys/port.ts';
import { publicKeyPem } from '../../../src/keys/public-key.ts';
import { verifySignature } from '../../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../../src/model/algorithm.ts';
import { type Context, openContext } from '../../../src/model/context.ts';
import { CountersignError } from '../../../src/model/error.ts';
import type { KeyVersion, ToSign } from '../../../src/model/signature.ts';

export type Subject = {
  /** What the tests are called: `local cosign file, ecdsa-p256-sha256`. */
  readonly label: string;
  readonly backend: string;
  readonly algorithm: AlgorithmName;
  /** What the backend states. Default: software. */
  readonly protectionLevel?: ProtectionLevel;
  /** The smallest message, in bytes, that the backend takes. Default: 0. */
  readonly minMessage?: number;
  /** The largest message, in bytes, that the backend takes. Default: more than is tried. */
  readonly maxMessage?: number;
  /** Opens a keyring that holds the key under the name `subject`. */
  open(): Promise<Keyring>;
  /** `skip` of node:test: a reason, or false. */
  readonly skip?: string | false;
};

/** A context for a test, which ends by itself. */
export const testContext = (timeoutMs = 20_000): Context => openContext('test', timeoutMs).context;

/** The CountersignError that a promise rejects with. */
export const rejection = async (work: Promise<unknown>): Promise<CountersignError> => {
  try {
    await work;
  } catch (caught) {
    assert.ok(caught instanceof CountersignError, `not a CountersignError: ${String(caught)}`);
    return caught;
  }
  assert.fail('was not rejected');
};

/** The judge is node:crypto given the exported PEM, not the code under test. */
const judged = (version: KeyVersion, message: Uint8Array, signature: Uint8Array): boolean => {
  const key = createPublicKey(publicKeyPem(version.spki));
  const algorithm = algorithms[version.algorithm];
  if (algorithm.type !== 'rsa') return verify(algorithm.hash ?? null, message, key, signature);
  const saltLength = createHash(algorithm.hash).digest().length;
  const pss = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength };
  const padding = algorithm.padding === 'pss' ? pss : { padding: constants.RSA_PKCS1_PADDING };
  return verify(algorithm.hash, message, { key, ...padding }, signature);
};

export const keyContract = ({
  label,
  backend,
  algorithm,
  open,
  protectionLevel = 'software',
  minMessage = 0,
  maxMessage = 1024 * 1024,
  skip = false,
}: Subject): void => {
  test(`${label}: keeps the contract`, { skip }, async (t) => {
    const ring = await open();
    t.after(() => ring.close());
    const context = testContext();
    const sign = (toSign: ToSign, asked = context) => ring.sign('subject', toSign, asked);

    await t.test('describes itself', async () => {
      assert.deepEqual(ring.names(), ['subject']);
      const description = await ring.describe('subject', context);
      assert.equal(description.name, 'subject');
      assert.equal(description.backend, backend);
      assert.equal(description.protectionLevel, protectionLevel);
      assert.equal(description.signing.key, 'subject');
      assert.equal(description.signing.algorithm, algorithm);
      assert.equal(description.signing.hint, createHash('sha256').update(description.signing.spki).digest('base64'));
      const listed = description.versions.find((version) => version.version === description.signing.version);
      assert.equal(listed?.state, 'enabled');
      assert.deepEqual(Buffer.from(listed.spki), Buffer.from(description.signing.spki));
    });

    await t.test('signs messages of any size', async () => {
      for (const size of [minMessage, 1, 1000, maxMessage]) {
        const message = randomBytes(size);
        const { signature, version } = await sign({ kind: 'message', message });
        assert.equal(version.algorithm, algorithm);
        assert.ok(judged(version, message, signature), `${size} bytes`);
        assert.equal(judged(version, Buffer.concat([message, Buffer.of(1)]), signature), false);
      }
    });

    await t.test('signs a SHA-256 digest, or says why not', async () => {
      const message = randomBytes(100);
      const toSign: ToSign = { kind: 'digest', digest: createHash('sha256').update(message).digest() };
      if (algorithms[algorithm].hash === 'sha256') {
        const { signature, version } = await sign(toSign);
        assert.ok(judged(version, message, signature));
        assert.ok(verifySignature(version, toSign, signature));
      } else {
        const error = await rejection(sign(toSign));
        assert.equal(error.code, 'failed_precondition');
        assert.equal(error.reason, 'DIGEST_NOT_SUPPORTED');
        assert.match(error.message, /Send the content/);
      }
    });

    await t.test('keeps concurrent signatures apart', async () => {
      const messages = Array.from({ length: 16 }, (_, index) => Buffer.from(`message ${index}`));
      const signed = await Promise.all(messages.map((message) => sign({ kind: 'message', message })));
      for (const [index, message] of messages.entries()) {
        const { signature, version } = signed[index] ?? assert.fail();
        assert.ok(judged(version, message, signature));
        assert.equal(judged(version, Buffer.from('other'), signature), false);
      }
    });

    await t.test('does nothing for a request that has ended', async () => {
      const toSign: ToSign = { kind: 'message', message: Buffer.from('late') };
      const owned = openContext('ended', 10_000);
      owned.cancel();
      assert.equal((await rejection(sign(toSign, owned.context))).code, 'cancelled');
    });

    await t.test('refuses a name that is not configured', async () => {
      const error = await rejection(ring.sign('toString', { kind: 'message', message: Buffer.of(1) }, context));
      assert.equal(error.code, 'not_found');
      assert.equal(error.reason, 'KEY_UNKNOWN');
      assert.equal(error.metadata['field'], 'key');
    });
  });
};

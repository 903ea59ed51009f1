import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { crc32c } from '../../src/codec/crc32c.ts';
import { createGcpClient } from '../../src/keys/gcp/client.ts';
import { gcpError } from '../../src/keys/gcp/errors.ts';
import { openContext } from '../../src/model/context.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { failing, keyOf, message, opened, ringOf } from './gcp-world.ts';

const reached = (error: CountersignError) => [error.code, error.reason];
const unavailable = ['unavailable', 'KEY_UNAVAILABLE'];
const wrapped = (value: number) => ({ value: `${value}` });

test('failures that may pass: one attempt, unavailable with a delay; the keyring tries again', async (t) => {
  for (const name of ['UNAVAILABLE', 'INTERNAL', 'DEADLINE_EXCEEDED', 'ABORTED', 'UNKNOWN', 'CANCELLED'] as const) {
    const { error, calls } = await failing(t, { code: status[name] });
    assert.deepEqual([...reached(error), calls], [...unavailable, 1], name);
    assert.ok((error.retryAfterMs ?? 0) > 0);
  }
  const { kms, ring } = await opened(t);
  kms.fail('AsymmetricSign', { code: status.UNAVAILABLE }, 1);
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.equal(kms.count('AsymmetricSign'), 2);
});

test('throttled: one attempt, resource_exhausted with a delay', async (t) => {
  const { error, calls } = await failing(t, { code: status.RESOURCE_EXHAUSTED, details: 'Quota exceeded' });
  assert.deepEqual([...reached(error), calls], ['resource_exhausted', 'KEY_THROTTLED', 1]);
  assert.ok((error.retryAfterMs ?? 0) > 0);
});

test('reading a key that fails for a moment is tried again', async (t) => {
  const { kms, ring } = await opened(t);
  kms.fail('ListCryptoKeyVersions', { code: status.UNAVAILABLE }, 1);
  kms.fail('GetCryptoKeyVersion', { code: status.RESOURCE_EXHAUSTED }, 1);
  kms.fail('GetPublicKey', { code: status.INTERNAL }, 2);
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.deepEqual([kms.count('ListCryptoKeyVersions'), kms.count('GetPublicKey')], [2, 3]);
});

test('refusals, each with its reason and its fix, tried once', async (t) => {
  const state = (name: string) => `x is not enabled, current state is: ${name}.`;
  const cases: readonly (readonly [keyof typeof status, string, string, RegExp])[] = [
    ['FAILED_PRECONDITION', state('DISABLED'), 'KEY_DISABLED', /versions enable/],
    ['FAILED_PRECONDITION', state('DESTROY_SCHEDULED'), 'KEY_PENDING_DELETION', /versions restore, then enable/],
    ['FAILED_PRECONDITION', state('DESTROYED'), 'KEY_DESTROYED', /versions create/],
    ['FAILED_PRECONDITION', state('PENDING_GENERATION'), 'KEY_PENDING', /wait/],
    ['FAILED_PRECONDITION', state('toString'), 'KEY_INVALID_STATE', /versions describe/],
    ['FAILED_PRECONDITION', 'the key manager refuses', 'KEY_INVALID_STATE', /versions describe/],
    ['NOT_FOUND', '', 'KEY_NOT_FOUND', /check its project/],
    ['PERMISSION_DENIED', '', 'KEY_ACCESS_DENIED', /\.useToSign/],
    ['UNAUTHENTICATED', '', 'KEY_ACCESS_DENIED', /credentials: renew them/],
    ['INVALID_ARGUMENT', 'len(digest)=1', 'KEY_REQUEST_REFUSED', /INVALID_ARGUMENT/],
    ['UNIMPLEMENTED', '', 'KEY_REQUEST_REFUSED', /UNIMPLEMENTED/],
  ];
  for (const [code, details, reason, fix] of cases) {
    const { error, calls } = await failing(t, { code: status[code], details });
    assert.deepEqual([...reached(error), calls], ['failed_precondition', reason, 1], code);
    assert.match(error.message, fix);
    assert.equal(error.retryAfterMs, undefined);
  }
});

test('an API that is not enabled is told by its reason', () => {
  const caught = Object.assign(new Error('denied'), { code: 7, reason: 'SERVICE_DISABLED' });
  const error = gcpError('KMS', 'x', caught) as CountersignError;
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /enable cloudkms\.googleapis\.com/);
});

test('what is wrong in our own code stays what it is', () => {
  const caught = new TypeError('x is not a function');
  assert.equal(gcpError('KMS', 'x', caught), caught);
});

test('hanging: the deadline of the request ends it, at the service too', async (t) => {
  const { kms, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  kms.fail('AsymmetricSign', 'hang');
  const before = performance.now();
  const error = await rejection(ring.sign('subject', message, openContext('hang', 200).context));
  assert.equal(error.code, 'deadline_exceeded');
  assert.ok(performance.now() - before < 1500);
  await kms.calls.at(-1)?.ended;
});

test('cancelled while the service hangs: the caller is let go at once, the call ended', async (t) => {
  const { kms, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  kms.fail('AsymmetricSign', 'hang');
  const owned = openContext('cancelled', 10_000);
  const error = rejection(ring.sign('subject', message, owned.context));
  await kms.seen('AsymmetricSign', 2);
  owned.cancel();
  assert.equal((await error).code, 'cancelled');
  await kms.calls.at(-1)?.ended;
});

test('cut off in the middle of a call, then nobody there: unavailable', async (t) => {
  const { kms, key } = await opened(t);
  const bare = await keyOf(t, kms.endpoint, key.name);
  kms.fail('AsymmetricSign', 'hang');
  const cut = rejection(bare.sign(message, testContext()));
  await kms.seen('AsymmetricSign', 1);
  await kms.close();
  assert.deepEqual(reached(await cut), unavailable);
  assert.deepEqual(reached(await rejection(bare.sign(message, testContext()))), unavailable);
});

test('a corrupted request or answer: nothing leaves, another attempt may be made', async (t) => {
  const flipped = (signature: unknown): Buffer => {
    const bytes = Buffer.from(signature as Buffer);
    bytes[9] = (bytes[9] ?? 0) ^ 1;
    return bytes;
  };
  const corruptions: readonly ((answer: Record<string, unknown>) => Record<string, unknown>)[] = [
    (answer) => ({ ...answer, signature: flipped(answer['signature']) }),
    (answer) => ({ ...answer, signatureCrc32c: wrapped(1) }),
    (answer) => ({ ...answer, signatureCrc32c: null }),
    (answer) => ({ ...answer, verifiedDigestCrc32c: false }),
    // For a digest the flag of data proves nothing.
    (answer) => ({ ...answer, verifiedDigestCrc32c: false, verifiedDataCrc32c: true }),
    () => ({ code: status.INVALID_ARGUMENT, details: 'invalid digest checksum' }),
  ];
  for (const corruption of corruptions) {
    const { error, calls, kms, bare } = await failing(t, corruption);
    assert.deepEqual([...reached(error), calls], ['data_loss', 'KEY_CHECKSUM_MISMATCH', 1]);
    assert.ok((error.retryAfterMs ?? 0) > 0);
    kms.fail('AsymmetricSign', (answer) => answer);
    assert.ok(await bare.sign(message, testContext()));
  }
  const { kms, ring } = await opened(t, {}, 'EC_SIGN_ED25519');
  kms.fail('AsymmetricSign', (answer) => ({ ...answer, verifiedDataCrc32c: false, verifiedDigestCrc32c: true }));
  const error = await rejection(ring.sign('subject', message, testContext()));
  assert.deepEqual(reached(error), ['data_loss', 'KEY_CHECKSUM_MISMATCH']);
});

test('a digest that changed on the way is refused by the service, and that is told apart', async (t) => {
  const { kms, version } = await opened(t);
  const anyone = { ca: undefined, credentialsFile: undefined, impersonate: undefined };
  const client = createGcpClient({ endpoint: kms.endpoint, ...anyone });
  t.after(() => client.close());
  const digest = { sha256: Buffer.alloc(32, 7) };
  const request = { name: String(version.fields['name']), digest };
  assert.ok(await client.sign({ ...request, crc: crc32c(digest.sha256) }, testContext()));
  const error = await rejection(client.sign({ ...request, crc: 1 }, testContext()));
  assert.deepEqual(reached(error), ['data_loss', 'KEY_CHECKSUM_MISMATCH']);
});

test('another version, another level, garbage: nothing leaves', async (t) => {
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const other = sign('sha256', message.message, foreign);
  const derOfNothing = Buffer.from('3006020101020101', 'hex');
  const { kms, key, ring } = await opened(t);
  const signed = (signature: Buffer) => ({ signature, signatureCrc32c: wrapped(crc32c(signature)) });
  const cases: readonly (readonly [string, object, string])[] = [
    ['another version', { name: `${key.name}/cryptoKeyVersions/2` }, 'KEY_VERSION_MISMATCH'],
    ['no name', { name: '' }, 'KEY_VERSION_MISMATCH'],
    ['another level', { protectionLevel: 'HSM' }, 'KEY_PROTECTION_MISMATCH'],
    ["another key's signature", signed(other), 'BAD_SIGNATURE'],
    ['garbage DER', signed(derOfNothing), 'BAD_SIGNATURE'],
    ['an empty signature', signed(Buffer.alloc(0)), 'KEY_ANSWER_MALFORMED'],
  ];
  for (const [what, change, reason] of cases) {
    await ring.sign('subject', message, testContext());
    kms.fail('AsymmetricSign', (answer) => ({ ...answer, ...change }), 1);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['data_loss', reason], what);
  }
  for (const bytes of [Buffer.alloc(0), Buffer.from('<html>')]) {
    const { error } = await failing(t, bytes);
    assert.equal(error.code, 'data_loss');
  }
});

test('an answer without end is cut off', async (t) => {
  const { error } = await failing(t, (answer) => ({ ...answer, signature: Buffer.alloc(2 * 1024 * 1024) }));
  assert.deepEqual(reached(error), ['unavailable', 'RESPONSE_TOO_LARGE']);
});

test('versions that cannot sign are not opened, each with its reason', async (t) => {
  const state = (name: string) => ({ state: name });
  const kind = (algorithm: string) => ({ algorithm });
  const cases: readonly (readonly [object, string, RegExp])[] = [
    [state('DISABLED'), 'KEY_DISABLED', /Version 1 .*versions enable/],
    [state('DESTROY_SCHEDULED'), 'KEY_PENDING_DELETION', /restore/],
    [state('DESTROYED'), 'KEY_DESTROYED', /destroyed/],
    [state('PENDING_EXTERNAL_DESTRUCTION'), 'KEY_DESTROYED', /destroyed/],
    [state('EXTERNAL_DESTRUCTION_FAILED'), 'KEY_DESTROYED', /destroyed/],
    [state('PENDING_GENERATION'), 'KEY_PENDING', /being generated/],
    [state('PENDING_IMPORT'), 'KEY_PENDING', /being imported/],
    [state('GENERATION_FAILED'), 'KEY_DESTROYED', /generation failed/],
    [state('IMPORT_FAILED'), 'KEY_DESTROYED', /import it anew/],
    [state('CRYPTO_KEY_VERSION_STATE_UNSPECIFIED'), 'KEY_INVALID_STATE', /describe/],
    [kind('EC_SIGN_SECP256K1_SHA256'), 'KEY_UNSUPPORTED', /secp256k1 is refused by cosign/],
    [kind('RSA_SIGN_RAW_PKCS1_2048'), 'KEY_UNSUPPORTED', /raw RSA/],
    [kind('PQ_SIGN_ML_DSA_65'), 'KEY_UNSUPPORTED', /post-quantum/],
    [kind('PQ_SIGN_SLH_DSA_SHA2_128S'), 'KEY_UNSUPPORTED', /post-quantum/],
    [kind('GOOGLE_SYMMETRIC_ENCRYPTION'), 'KEY_UNSUPPORTED', /does not make signatures/],
    [kind('CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED'), 'KEY_UNSUPPORTED', /not known/],
  ];
  for (const [fields, reason, words] of cases) {
    const { kms, version, ring } = await opened(t);
    Object.assign(version.fields, fields);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['failed_precondition', reason], JSON.stringify(fields));
    assert.match(error.message, words);
    assert.equal(kms.count('AsymmetricSign'), 0);
  }
});

test('a public key that is corrupted, truncated, or of another version: nothing is opened', async (t) => {
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-384' }).publicKey.export({
    type: 'spki',
    format: 'pem',
  }) as string;
  const told = (text: string) => ({ pem: text, pemCrc32c: wrapped(crc32c(Buffer.from(text))) });
  const malformed = 'KEY_ANSWER_MALFORMED';
  const cases: readonly (readonly [string, object, string])[] = [
    ['corrupted', { pem }, 'KEY_CHECKSUM_MISMATCH'],
    ['without checksum', { pemCrc32c: null }, 'KEY_CHECKSUM_MISMATCH'],
    ['truncated', told(pem.slice(0, 60)), malformed],
    ['none', told(''), malformed],
    ['of another curve', told(pem), malformed],
    ['of another version', { name: 'projects/p/x' }, malformed],
    ['of another algorithm', { algorithm: 'EC_SIGN_P384_SHA384' }, malformed],
    ['of another level', { protectionLevel: 'HSM' }, malformed],
  ];
  for (const [what, change, reason] of cases) {
    const { kms, ring } = await opened(t);
    kms.fail('GetPublicKey', (answer) => ({ ...answer, ...change }));
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['data_loss', reason], what);
    assert.equal(kms.count('AsymmetricSign'), 0);
  }
});

test('a list of another key, a version of another name: nothing is opened', async (t) => {
  for (const [operation, change] of [
    ['ListCryptoKeyVersions', { cryptoKeyVersions: [{ name: 'projects/p/x/cryptoKeyVersions/1' }] }],
    ['GetCryptoKeyVersion', { name: 'projects/p/x/cryptoKeyVersions/1' }],
  ] as const) {
    const { kms, ring } = await opened(t);
    kms.fail(operation, (answer) => ({ ...answer, ...change }));
    assert.deepEqual(reached(await rejection(ring.describe('subject', testContext()))), [
      'data_loss',
      'KEY_ANSWER_MALFORMED',
    ]);
  }
});

test('an older version whose public key cannot be read is listed without it', async (t) => {
  const { kms, key, ring } = await opened(t, {}, 'EC_SIGN_P256_SHA256', 'EC_SIGN_P256_SHA256');
  kms.fail('GetPublicKey', ({ name, ...rest }) =>
    String(name).endsWith('/1') ? { code: status.FAILED_PRECONDITION } : { name, ...rest },
  );
  const { versions, opaque } = await ring.describe('subject', testContext());
  assert.deepEqual(
    [versions[0]?.version, opaque[0]?.version],
    [`${key.name}/cryptoKeyVersions/2`, `${key.name}/cryptoKeyVersions/1`],
  );
});

test('a key that is not there, and one without versions', async (t) => {
  const { kms, key, ring } = await opened(t);
  const absent = await rejection(ringOf(t, kms.endpoint, `${key.name}x`).sign('subject', message, testContext()));
  assert.deepEqual(reached(absent), ['failed_precondition', 'KEY_NOT_FOUND']);
  kms.answer('ListCryptoKeyVersions', { cryptoKeyVersions: [], nextPageToken: '' });
  const empty = await rejection(ring.sign('subject', message, testContext()));
  assert.deepEqual(reached(empty), ['failed_precondition', 'KEY_NOT_FOUND']);
  assert.match(empty.message, /has no version: create one/);
});

import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { awsError } from '../../src/keys/aws/errors.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { failing, message, opened, openKeyAt, reset, ringOf, started, unopened } from './aws-world.ts';
import { awsFault, region } from './fake-kms.ts';

const reached = (error: CountersignError) => [error.code, error.reason];
const unavailable = ['unavailable', 'KEY_UNAVAILABLE'];

for (const [type, status] of [
  ['KMSInternalException', 500],
  ['KeyUnavailableException', 500],
  ['DependencyTimeoutException', 503],
  ['SomethingNew', 502],
] as const) {
  test(`${type}, status ${status}: one attempt, unavailable with a delay`, async (t) => {
    const { error, calls } = await failing(t, awsFault(type, '', status));
    assert.deepEqual([...reached(error), calls], [...unavailable, 1]);
    assert.ok((error.retryAfterMs ?? 0) > 0);
  });
}

test('throttled with status 400: told to wait', async (t) => {
  const { error, calls } = await failing(t, awsFault('ThrottlingException', 'Rate exceeded'));
  assert.deepEqual([...reached(error), calls], ['resource_exhausted', 'KEY_THROTTLED', 1]);
  assert.ok((error.retryAfterMs ?? 0) > 0);
});

test('failures that pass while the key is opened are not seen', async (t) => {
  const { kms, key } = await unopened(t);
  kms.fail('DescribeKey', awsFault('ThrottlingException', 'Rate exceeded'), 1);
  kms.fail('GetPublicKey', awsFault('KMSInternalException', '', 500), 1);
  kms.fail('GetPublicKey', reset, 1);
  const { description } = await openKeyAt(t, kms.endpoint, { arn: key.arn });
  assert.equal(description.signing.version, key.arn);
  assert.deepEqual([kms.count('DescribeKey'), kms.count('GetPublicKey')], [2, 3]);
});

test('failures that pass while signing are not seen by the caller of the keyring', async (t) => {
  const { kms, ring } = await opened(t);
  await ring.describe('subject', testContext());
  kms.fail('Sign', awsFault('KMSInternalException', '', 500), 1);
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.equal(kms.count('Sign'), 2);
});

test('reset, and half an answer: unavailable', async (t) => {
  const first = await failing(t, reset);
  assert.deepEqual([...reached(first.error), first.calls], [...unavailable, 1]);
  const half = await failing(t, (_, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{"KeyId":', () => response.destroy());
    return 'handled';
  });
  assert.deepEqual([...reached(half.error), half.calls], [...unavailable, 1]);
});

test('nobody there: unavailable', async (t) => {
  const { kms, key } = await unopened(t);
  const open = await openKeyAt(t, kms.endpoint, { arn: key.arn });
  await kms.close();
  assert.deepEqual(reached(await rejection(open.sign(message, testContext()))), unavailable);
});

test('hanging, before and in the middle of its answer: the deadline of the request ends it', async (t) => {
  for (const start of [false, true]) {
    const { kms, key } = await unopened(t);
    const open = await openKeyAt(t, kms.endpoint, { arn: key.arn });
    kms.fail('Sign', (_, response) => {
      if (start) response.writeHead(200).write('{');
      return 'handled';
    });
    const before = performance.now();
    const error = await rejection(open.sign(message, openContext('hang', 150).context));
    assert.equal(error.code, 'deadline_exceeded');
    assert.ok(performance.now() - before < 1000);
  }
});

test('cancelled while KMS hangs: the caller is let go at once, the connection closed', async (t) => {
  const { kms, key } = await unopened(t);
  const open = await openKeyAt(t, kms.endpoint, { arn: key.arn });
  const closed = Promise.withResolvers<void>();
  kms.fail('Sign', (_, response) => {
    response.on('close', closed.resolve);
    return 'handled';
  });
  const owned = openContext('cancelled', 10_000);
  const error = rejection(open.sign(message, owned.context));
  await kms.seen('Sign', 1);
  owned.cancel();
  assert.equal((await error).code, 'cancelled');
  await closed.promise;
});

test('a try that times out by itself is a failure that may pass', () => {
  const caught = Object.assign(new Error('socket timed out'), { name: 'TimeoutError' });
  const error = awsError('AWS KMS (x)', 'x', caught);
  assert.ok(error instanceof CountersignError);
  assert.deepEqual(reached(error), unavailable);
  assert.ok((error.retryAfterMs ?? 0) > 0);
});

test('what is wrong in our own code stays what it is', () => {
  const caught = new TypeError('x is not a function');
  assert.equal(awsError('AWS KMS (x)', 'x', caught), caught);
});

test('refusals, each with its reason and its fix, tried once', async (t) => {
  const cases: readonly (readonly [string, string, string, RegExp])[] = [
    ['DisabledException', 'x is disabled.', 'KEY_DISABLED', /EnableKey/],
    ['KMSInvalidStateException', 'x is pending deletion.', 'KEY_PENDING_DELETION', /CancelKeyDeletion/],
    ['KMSInvalidStateException', 'x is pending import.', 'KEY_PENDING_IMPORT', /ImportKeyMaterial/],
    ['KMSInvalidStateException', 'x is unavailable.', 'KEY_STORE_UNAVAILABLE', /connect it/],
    ['KMSInvalidStateException', '', 'KEY_INVALID_STATE', /KeyState/],
    ['NotFoundException', '', 'KEY_NOT_FOUND', /check its id/],
    ['AccessDeniedException', '', 'KEY_ACCESS_DENIED', /kms:Sign/],
    ['InvalidKeyUsageException', '', 'KEY_UNSUPPORTED', /InvalidKeyUsageException/],
    ['ValidationException', '', 'KEY_REQUEST_REFUSED', /ValidationException/],
  ];
  for (const [type, said, reason, fix] of cases) {
    const { error, calls } = await failing(t, awsFault(type, said));
    assert.deepEqual([...reached(error), calls], ['failed_precondition', reason, 1], type);
    assert.match(error.message, fix);
    assert.equal(error.retryAfterMs, undefined);
  }
});

test('another key, another algorithm, garbage: nothing leaves', async (t) => {
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const other = sign('sha256', message.message, foreign).toString('base64');
  const { kms, key } = await unopened(t);
  const another = key.arn.replace(/\w+$/, '000000000000');
  const SigningAlgorithm = 'ECDSA_SHA_256';
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['another KeyId', { KeyId: another, Signature: other, SigningAlgorithm }, 'KEY_VERSION_MISMATCH'],
    ['an empty signature', { KeyId: key.arn, Signature: '', SigningAlgorithm }, 'KEY_ANSWER_MALFORMED'],
    ['another algorithm', { KeyId: key.arn, Signature: other, SigningAlgorithm: 'X' }, 'KEY_ANSWER_MALFORMED'],
    ['no signature', { KeyId: key.arn, SigningAlgorithm }, 'KEY_ANSWER_MALFORMED'],
    ['nothing', {}, 'KEY_ANSWER_MALFORMED'],
    ['an empty body', '', 'KEY_ANSWER_MALFORMED'],
    ['no JSON', '<html>', 'KEY_ANSWER_MALFORMED'],
  ];
  for (const [what, body, reason] of cases) {
    const open = await openKeyAt(t, kms.endpoint, { arn: key.arn });
    kms.fail('Sign', { status: 200, body }, 1);
    assert.deepEqual(reached(await rejection(open.sign(message, testContext()))), ['data_loss', reason], what);
  }
  const forged = [other, 'MAYCAQECAQE='].map((Signature) => ({ KeyId: key.arn, Signature, SigningAlgorithm }));
  for (const body of forged) {
    kms.fail('Sign', { status: 200, body }, 1);
    const error = await rejection(ringOf(t, kms.endpoint, { arn: key.arn }).sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['data_loss', 'BAD_SIGNATURE']);
  }
});

test('an answer without end is cut off', async (t) => {
  const { error, calls } = await failing(t, (_, response) => {
    response.writeHead(200).write(Buffer.alloc(1024 * 1024, 0x20));
    return 'handled';
  });
  assert.deepEqual([error.code, error.reason, calls], ['unavailable', 'RESPONSE_TOO_LARGE', 1]);
});

test('a redirect is not followed', async (t) => {
  const elsewhere = await started(t);
  const { error } = await failing(t, { status: 307, headers: { location: elsewhere.endpoint }, body: {} });
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_REQUEST_REFUSED']);
  assert.equal(elsewhere.calls.length, 0);
});

test('keys that cannot sign are not opened, each with its reason', async (t) => {
  const cases: readonly (readonly [object, string, string, RegExp])[] = [
    [{ KeyState: 'Disabled' }, 'failed_precondition', 'KEY_DISABLED', /EnableKey/],
    [{ KeyState: 'PendingDeletion' }, 'failed_precondition', 'KEY_PENDING_DELETION', /CancelKeyDeletion/],
    [{ KeyState: 'PendingReplicaDeletion' }, 'failed_precondition', 'KEY_PENDING_DELETION', /CancelKeyDeletion/],
    [{ KeyState: 'PendingImport' }, 'failed_precondition', 'KEY_PENDING_IMPORT', /ImportKeyMaterial/],
    [{ KeyState: 'Unavailable' }, 'failed_precondition', 'KEY_STORE_UNAVAILABLE', /connect it/],
    [
      { KeyState: 'PendingDeletion', DeletionDate: 1_796_382_213 },
      'failed_precondition',
      'KEY_PENDING_DELETION',
      /on 2026-12-04T/,
    ],
    [
      { KeyState: 'PendingImport', ValidTo: 1_795_000_000 },
      'failed_precondition',
      'KEY_EXPIRED',
      /expired on 2026-11-18T.*ImportKeyMaterial/,
    ],
    [
      { KeyState: 'PendingImport', ValidTo: 4_000_000_000 },
      'failed_precondition',
      'KEY_PENDING_IMPORT',
      /ImportKeyMaterial/,
    ],
    [{ ValidTo: 1_795_000_000 }, 'failed_precondition', 'KEY_EXPIRED', /ImportKeyMaterial/],
    [{ KeyState: 'Creating' }, 'failed_precondition', 'KEY_PENDING', /still being made/],
    [{ KeyState: 'constructor' }, 'failed_precondition', 'KEY_INVALID_STATE', /KeyState/],
    [{ KeyUsage: 'ENCRYPT_DECRYPT' }, 'failed_precondition', 'KEY_UNSUPPORTED', /SIGN_VERIFY/],
    [{ KeySpec: 'ECC_SECG_P256K1' }, 'failed_precondition', 'KEY_UNSUPPORTED', /secp256k1 is refused by cosign/],
    [{ KeySpec: 'ML_DSA_65' }, 'failed_precondition', 'KEY_UNSUPPORTED', /ML-DSA/],
    [{ KeySpec: 'SYMMETRIC_DEFAULT' }, 'failed_precondition', 'KEY_UNSUPPORTED', /does not make signatures/],
    [{ KeySpec: 'toString' }, 'failed_precondition', 'KEY_UNSUPPORTED', /not known/],
    [{ SigningAlgorithms: ['X'] }, 'failed_precondition', 'KEY_UNSUPPORTED', /ECDSA_SHA_256; it offers X/],
    [{ KeySpec: 'ECC_NIST_P384', SigningAlgorithms: undefined }, 'data_loss', 'KEY_ANSWER_MALFORMED', /P384/],
    [{ Arn: 'arn:aws:kms:x' }, 'data_loss', 'KEY_ANSWER_MALFORMED', /no description/],
  ];
  for (const [metadata, code, reason, words] of cases) {
    const { kms, key } = await unopened(t);
    Object.assign(key.metadata, metadata);
    const error = await rejection(openKeyAt(t, kms.endpoint, { arn: key.arn }));
    assert.deepEqual(reached(error), [code, reason], JSON.stringify(metadata));
    assert.equal(error.retryAfterMs, undefined);
    assert.match(error.message, words);
  }
});

test('a public key that is truncated, loose, or of another key: nothing is opened', async (t) => {
  const spki = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'der' });
  const cases: readonly (readonly [string, object])[] = [
    ['truncated', { PublicKey: spki.subarray(0, 60).toString('base64') }],
    ['with a trailing byte', { PublicKey: Buffer.concat([spki, Buffer.of(0)]).toString('base64') }],
    ['none', { PublicKey: undefined }],
    ["another key's", { KeyId: `arn:aws:kms:${region}:111122223333:key/other` }],
    ['of another KeySpec', { KeySpec: 'ECC_NIST_P384' }],
  ];
  for (const [what, more] of cases) {
    const { kms, key } = await unopened(t);
    const body = { KeyId: key.arn, KeySpec: key.spec, PublicKey: spki.toString('base64'), ...more };
    kms.fail('GetPublicKey', { status: 200, body });
    const error = await rejection(openKeyAt(t, kms.endpoint, { arn: key.arn }));
    assert.deepEqual(reached(error), ['data_loss', 'KEY_ANSWER_MALFORMED'], what);
  }
});

test('a key that is not there', async (t) => {
  const kms = await started(t);
  const error = await rejection(openKeyAt(t, kms.endpoint, { alias: 'alias/absent' }));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_NOT_FOUND']);
});

test('a key that is disabled, or whose material expires, once it is open: what was known stays, and signing says why', async (t) => {
  const { kms, key } = await unopened(t);
  const soon = Date.now() / 1000 + 3600;
  Object.assign(key.metadata, { Origin: 'EXTERNAL', ExpirationModel: 'KEY_MATERIAL_EXPIRES', ValidTo: soon });
  const open = await openKeyAt(t, kms.endpoint, { arn: key.arn });
  const { versions, evidence, signing } = open.description;
  assert.deepEqual(
    versions.map(({ state, validUntil }) => [state, validUntil]),
    [['enabled', new Date(Math.round(soon * 1000)).toISOString()]],
  );
  assert.equal(evidence['ExpirationModel'], 'KEY_MATERIAL_EXPIRES');
  kms.fail('Sign', awsFault('DisabledException', 'x is disabled.'), 1);
  assert.equal((await rejection(open.sign(message, testContext()))).reason, 'KEY_DISABLED');
  assert.equal(open.description.signing, signing);

  const gone = awsFault('KMSInvalidStateException', 'x is pending import.');
  kms.fail('Sign', gone);
  assert.equal((await rejection(open.sign(message, testContext()))).reason, 'KEY_PENDING_IMPORT');
  t.mock.timers.enable({ apis: ['Date'], now: (soon + 60) * 1000 });
  const error = await rejection(open.sign(message, testContext()));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_EXPIRED']);
});

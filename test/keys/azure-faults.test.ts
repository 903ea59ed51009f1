import assert from 'node:assert/strict';
import { generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { azureSdkError } from '../../src/keys/azure/errors.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { failing, message, opened, reset, started } from './azure-world.ts';
import { type Answer, azureFault } from './fake-azure.ts';

const reached = (error: CountersignError) => [error.code, error.reason];
const unavailable = ['unavailable', 'KEY_UNAVAILABLE'];
const short = () => openContext('short', 300).context;

for (const [status, body] of [
  [408, azureFault(408, 'Timeout').body],
  [500, azureFault(500, 'InternalServerError', undefined, 'x').body],
  [502, ''],
  [503, '<html>busy</html>'],
  [504, '{}'],
] as const) {
  test(`status ${status}: tried again by the keyring alone, then unavailable with a delay`, async (t) => {
    const { error, calls } = await failing(t, { status, body });
    assert.deepEqual([...reached(error), calls], [...unavailable, 3]);
    assert.ok((error.retryAfterMs ?? 0) > 0);
  });
}

test('429: the caller waits as long as Azure says, or a second; one that passes is not seen', async (t) => {
  const throttle = azureFault(429, 'Throttled', undefined, 'Request was not processed because too many requests');
  const told = await failing(t, { ...throttle, headers: { 'retry-after': '7' } }, short);
  assert.deepEqual([...reached(told.error), told.calls], ['resource_exhausted', 'KEY_THROTTLED', 1]);
  assert.equal(told.error.retryAfterMs, 7_000);
  const untold = await failing(t, throttle, short);
  assert.deepEqual([...reached(untold.error), untold.calls], ['resource_exhausted', 'KEY_THROTTLED', 1]);
  assert.equal(untold.error.retryAfterMs, 1_000);
  const { azure, ring } = await opened(t);
  azure.fail('sign', throttle, 1);
  const before = performance.now();
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.ok(performance.now() - before >= 1_000);
  assert.equal(azure.count('sign'), 2);
});

test('failures that pass are not seen by the caller, while the key is opened and after', async (t) => {
  const { azure, ring } = await opened(t);
  azure.fail('versions', reset, 1);
  azure.fail('get', azureFault(503, 'Busy'), 1);
  azure.fail('sign', azureFault(500, 'InternalServerError'), 1);
  azure.fail('sign', reset, 1);
  assert.ok(await ring.sign('subject', message, testContext()));
});

test('reset, half an answer, nobody there: unavailable', async (t) => {
  const first = await failing(t, reset);
  assert.deepEqual([...reached(first.error), first.calls], [...unavailable, 3]);
  const half = await failing(t, (_, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{"kid":', () => response.destroy());
    return 'handled';
  });
  assert.deepEqual([...reached(half.error), half.calls], [...unavailable, 3]);
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  await azure.close();
  assert.deepEqual(reached(await rejection(ring.sign('subject', message, testContext()))), unavailable);
});

test('hanging, before and in the middle of its answer: the deadline of the request ends it', async (t) => {
  for (const start of [false, true]) {
    const { azure, ring } = await opened(t);
    await ring.sign('subject', message, testContext());
    azure.fail('sign', (_, response) => {
      if (start) response.writeHead(200).write('{');
      return 'handled';
    });
    const before = performance.now();
    const error = await rejection(ring.sign('subject', message, openContext('hang', 150).context));
    assert.equal(error.code, 'deadline_exceeded');
    assert.ok(performance.now() - before < 1000);
  }
});

test('cancelled while Azure hangs: the caller is let go at once, the connection closed', async (t) => {
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  const closed = Promise.withResolvers<void>();
  azure.fail('sign', (_, response) => {
    response.on('close', closed.resolve);
    return 'handled';
  });
  const owned = openContext('cancelled', 10_000);
  const error = rejection(ring.sign('subject', message, owned.context));
  await azure.seen('sign', 2);
  owned.cancel();
  assert.equal((await error).code, 'cancelled');
  await closed.promise;
});

test('refusals, each with its reason and its fix, tried once', async (t) => {
  const recoverable = 'Key release is currently in a deleted but recoverable state';
  const cases: readonly (readonly [Answer, string, RegExp])[] = [
    [azureFault(403, 'Forbidden', 'KeyDisabled'), 'KEY_DISABLED', /enable it/],
    [
      azureFault(403, 'Forbidden', undefined, 'Operation sign is not allowed on a disabled key.'),
      'KEY_DISABLED',
      /enable/,
    ],
    [azureFault(403, 'Forbidden', 'KeyExpired'), 'KEY_EXPIRED', /rotate the key/],
    [azureFault(403, 'Forbidden', undefined, 'The key has expired.'), 'KEY_EXPIRED', /exp/],
    [azureFault(403, 'Forbidden', 'KeyNotYetValid'), 'KEY_NOT_YET_VALID', /nbf/],
    [azureFault(403, 'Forbidden', undefined, 'The key is not yet valid.'), 'KEY_NOT_YET_VALID', /clock/],
    [azureFault(403, 'Forbidden', 'ForbiddenByFirewall'), 'KEY_NETWORK_DENIED', /firewall/],
    [azureFault(403, 'Forbidden', undefined, 'Client address is not authorized'), 'KEY_NETWORK_DENIED', /network/],
    [azureFault(403, 'Forbidden', 'ForbiddenByConnection'), 'KEY_NETWORK_DENIED', /private endpoint/],
    [azureFault(403, 'Forbidden', 'KeyOperationForbidden'), 'KEY_UNSUPPORTED', /must include sign/],
    [azureFault(403, 'Forbidden', 'ForbiddenByRbac'), 'KEY_ACCESS_DENIED', /keys\/sign\/action/],
    [azureFault(403, 'Forbidden', 'AccessDenied'), 'KEY_ACCESS_DENIED', /some minutes/],
    [{ status: 403, body: '' }, 'KEY_ACCESS_DENIED', /denies/],
    [azureFault(404, 'KeyNotFound'), 'KEY_NOT_FOUND', /can be recovered/],
    [{ status: 404, body: '' }, 'KEY_NOT_FOUND', /check the name/],
    [azureFault(409, 'Conflict', 'ObjectIsDeletedButRecoverable', recoverable), 'KEY_PENDING_DELETION', /recover it/],
    [
      azureFault(400, 'BadParameter', undefined, 'Key and signing algorithm are incompatible.'),
      'KEY_UNSUPPORTED',
      /type/,
    ],
    [azureFault(400, 'BadParameter', undefined, "Invalid length of 'value'"), 'KEY_REQUEST_REFUSED', /BadParameter/],
    [{ status: 204, body: '' }, 'KEY_REQUEST_REFUSED', /204/],
  ];
  for (const [answer, reason, fix] of cases) {
    const { error, calls } = await failing(t, answer);
    assert.deepEqual([...reached(error), calls], ['failed_precondition', reason, 1], JSON.stringify(answer));
    assert.match(error.message, fix);
    assert.equal(error.retryAfterMs, undefined);
  }
});

test('what is refused by the states of a key is what the vault says when it signs', async (t) => {
  const now = Math.floor(Date.now() / 1000);
  const cases: readonly (readonly [object, string])[] = [
    [{ enabled: false }, 'KEY_DISABLED'],
    [{ nbf: now + 60 }, 'KEY_NOT_YET_VALID'],
    [{ exp: now - 60 }, 'KEY_EXPIRED'],
  ];
  for (const [attributes, reason] of cases) {
    const { version, ring } = await opened(t);
    await ring.sign('subject', message, testContext());
    Object.assign(version.attributes, attributes);
    assert.equal((await rejection(ring.sign('subject', message, testContext()))).reason, reason);
  }
});

test('409 while the key is changed or recovered may pass', async (t) => {
  for (const inner of ['Conflict', 'ObjectIsBeingRecovered']) {
    const { error } = await failing(t, azureFault(409, 'Conflict', inner), short);
    assert.deepEqual(reached(error), unavailable);
    assert.ok((error.retryAfterMs ?? 0) > 0);
  }
});

test('another version, another key, garbage: nothing leaves', async (t) => {
  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  const other = sign('sha256', message.message, { key: foreign, dsaEncoding: 'ieee-p1363' }).toString('base64url');
  const der = sign('sha256', message.message, foreign).toString('base64url');
  const { azure, version, ring } = await opened(t);
  const kid = azure.kid('release', version);
  const another = kid.replace(/\w{32}$/, '0'.repeat(32));
  const zero = Buffer.alloc(64).toString('base64url');
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['another version', { kid: another, value: other }, 'KEY_VERSION_MISMATCH'],
    ['another vault', { kid: kid.replace('127.0.0.1', 'unit.vault.azure.net'), value: other }, 'KEY_VERSION_MISMATCH'],
    ["another key's signature", { kid, value: other }, 'BAD_SIGNATURE'],
    ['DER instead of r and s', { kid, value: der }, 'KEY_ANSWER_MALFORMED'],
    ['a short one', { kid, value: other.slice(0, 84) }, 'KEY_ANSWER_MALFORMED'],
    ['r and s of zero', { kid, value: zero }, 'KEY_ANSWER_MALFORMED'],
    ['padded base64', { kid, value: `${other}==` }, 'KEY_ANSWER_MALFORMED'],
    ['an empty signature', { kid, value: '' }, 'KEY_ANSWER_MALFORMED'],
    ['no signature', { kid }, 'KEY_ANSWER_MALFORMED'],
    ['nothing', {}, 'KEY_ANSWER_MALFORMED'],
    ['a list', [], 'KEY_ANSWER_MALFORMED'],
    ['an empty body', '', 'KEY_ANSWER_MALFORMED'],
    ['no JSON', '<html>', 'KEY_ANSWER_MALFORMED'],
  ];
  for (const [what, body, reason] of cases) {
    await ring.sign('subject', message, testContext());
    azure.fail('sign', { status: 200, body }, 1);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['data_loss', reason], what);
  }
});

test('an answer without end is cut off', async (t) => {
  const { error, calls } = await failing(t, (_, response) => {
    response.writeHead(200).write(Buffer.alloc(2 * 1024 * 1024, 0x20));
    return 'handled';
  });
  assert.deepEqual([...reached(error), calls], [...unavailable, 1]);
  assert.match(error.message, /more than 1048576 bytes/);
});

test('a redirect is not followed', async (t) => {
  const elsewhere = await started(t);
  const { error } = await failing(t, { status: 307, headers: { location: elsewhere.origin }, body: {} });
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_REQUEST_REFUSED']);
  assert.equal(elsewhere.calls.length, 0);
});

test('a version that is garbage, or another one: nothing is opened', async (t) => {
  const { azure, version, ring: first } = await opened(t);
  await first.describe('subject', testContext());
  const kid = azure.kid('release', version);
  const { x, y } = version.privateKey.export({ format: 'jwk' });
  const key = { kid, kty: 'EC', crv: 'P-256', key_ops: ['sign'], x, y };
  const cases: readonly (readonly [string, unknown])[] = [
    ['another version', { key: { ...key, kid: kid.replace(/\w{32}$/, 'f'.repeat(32)) } }],
    ['another key', { key: { ...key, kid: kid.replace('release', 'other') } }],
    ['not on the curve', { key: { ...key, x: y } }],
    ['half a point', { key: { ...key, y: undefined } }],
    ['no key', {}],
    ['no JSON', '<html>'],
    ['nothing', ''],
  ];
  for (const [what, body] of cases) {
    const world = await opened(t);
    // The vault lists its own version; the answer speaks of it in place of the other.
    const own = world.azure.kid('release', world.version);
    const text = typeof body === 'string' ? body : JSON.stringify(body).replace(kid, own);
    world.azure.fail('get', { status: 200, body: text });
    const error = await rejection(world.ring.describe('subject', testContext()));
    assert.deepEqual(reached(error), ['data_loss', 'KEY_ANSWER_MALFORMED'], what);
    assert.equal(world.azure.count('sign'), 0);
  }
  for (const body of [{ value: [{ kid: 'x' }] }, { value: 'x' }, '<html>', '']) {
    const world = await opened(t);
    world.azure.fail('versions', { status: 200, body });
    const error = await rejection(world.ring.describe('subject', testContext()));
    assert.deepEqual(reached(error), ['data_loss', 'KEY_ANSWER_MALFORMED'], JSON.stringify(body));
  }
});

test('a key that is not there, or was deleted', async (t) => {
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  azure.remove('release');
  assert.equal((await rejection(ring.sign('subject', message, testContext()))).reason, 'KEY_NOT_FOUND');
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_NOT_FOUND']);
});

test('an old version that the vault does not give is shown, and stops nothing', async (t) => {
  const { azure, ring } = await opened(t);
  const old = azure.addVersion('release', 'P-256', 3600);
  azure.fail('get', ({ path }) =>
    path.includes(old.version) ? azureFault(403, 'Forbidden', 'KeyDisabled') : undefined,
  );
  const { opaque } = await ring.describe('subject', testContext());
  assert.deepEqual(
    opaque.map(({ version }) => version),
    [old.version],
  );
});

test("the client's own refusals have types, too; what is wrong in our own code stays what it is", () => {
  const cases: readonly (readonly [string, string])[] = [
    ['Key https://x/keys/a/b expired at 2020-01-01T00:00:00.000Z', 'KEY_EXPIRED'],
    ["Key https://x/keys/a/b can't be used before 2099-01-01T00:00:00.000Z", 'KEY_NOT_YET_VALID'],
    ['Operation sign is not supported on key https://x/keys/a/b', 'KEY_UNSUPPORTED'],
    ["The challenge resource 'x' does not match the requested domain.", 'KEY_CHALLENGE_REFUSED'],
  ];
  for (const [said, reason] of cases) {
    const error = azureSdkError('Azure Key Vault (x)', new Error(said), undefined);
    assert.ok(error instanceof CountersignError);
    assert.deepEqual(reached(error), ['failed_precondition', reason]);
  }
  const caught = new TypeError('x is not a function');
  assert.equal(azureSdkError('Azure Key Vault (x)', caught, undefined), caught);
  const slow = new CountersignError('deadline_exceeded', 'DEADLINE_EXCEEDED', 'x');
  const error = azureSdkError('Azure Key Vault (x)', slow, undefined);
  assert.ok(error instanceof CountersignError);
  assert.deepEqual(reached(error), unavailable);
  assert.ok((error.retryAfterMs ?? 0) > 0);
});

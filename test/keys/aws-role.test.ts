// Keys that are used as a role: STS AssumeRole with the credentials of the environment or a profile.
import assert from 'node:assert/strict';
import dns from 'node:dns';
import { rmSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { accessKeyId, isolateAws, message, openKeyAt, secretAccessKey, started } from './aws-world.ts';
import { awsFault, type FakeKms, region } from './fake-kms.ts';
import { type FakeSts, startFakeSts } from './fake-sts.ts';

const roleArn = 'arn:aws:iam::444455556666:role/signers/release';
const role = { arn: roleArn, externalId: 'their-id:7' };

const world = async (t: TestContext, env: Readonly<Record<string, string>> = {}) => {
  const [kms, sts] = await Promise.all([started(t), startFakeSts()]);
  t.after(() => sts.close());
  isolateAws();
  Object.assign(process.env, { AWS_ENDPOINT_URL_STS: sts.endpoint, ...env });
  t.after(isolateAws);
  kms.setAlias('alias/release', kms.createKey());
  const open = (more: object = {}, context = testContext()) =>
    openKeyAt(t, kms.endpoint, { alias: 'alias/release', role, ...more }, context);
  return { kms, sts, open };
};
const signer = (kms: FakeKms): string => /Credential=([^/]+)/.exec(kms.calls.at(-1)?.authorization ?? '')?.[1] ?? '';
const said = (error: CountersignError) => [error.code, error.reason];
const whole = (error: CountersignError): string => `${error.message} ${error.stack} ${String(error.cause)}`;
const secrets = new RegExp(`${secretAccessKey}|role-secret|role-token`);

test('the role is taken once, as configured, and signs for all', async (t) => {
  const { kms, sts, open } = await world(t);
  const key = await open({ role: { ...role, sessionName: 'release@ci', durationSeconds: 900 } });
  for (let round = 0; round < 3; round++) await key.sign(message, testContext());
  assert.deepEqual(sts.calls, [
    {
      Action: 'AssumeRole',
      Version: '2011-06-15',
      RoleArn: roleArn,
      RoleSessionName: 'release@ci',
      ExternalId: 'their-id:7',
      DurationSeconds: '900',
    },
  ]);
  assert.deepEqual(sts.signedBy, [accessKeyId]);
  assert.deepEqual([signer(kms), kms.calls.at(-1)?.sessionToken], ['ASIAROLE1', 'role-token-1']);
});

test('what is not configured is not said', async (t) => {
  const { sts, open } = await world(t);
  await open({ role: { arn: roleArn } });
  const asked = { Action: 'AssumeRole', Version: '2011-06-15', RoleArn: roleArn, RoleSessionName: 'countersign' };
  assert.deepEqual(sts.calls, [asked]);
});

test('the credentials of a profile take the role', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'aws-role-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'config');
  writeFileSync(file, '[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = of-a-test\n');
  const { kms, sts, open } = await world(t, { AWS_CONFIG_FILE: file });
  await open({ profile: 'base' });
  assert.deepEqual([sts.signedBy, signer(kms)], [['AKIABASE'], 'ASIAROLE1']);
});

test('the role is taken anew before its credentials expire, and once when KMS refuses them', async (t) => {
  const { kms, sts, open } = await world(t);
  sts.lasting(200_000);
  const key = await open();
  sts.lasting(3_600_000);
  await key.sign(message, testContext());
  const taken = sts.calls.length;
  await key.sign(message, testContext());
  assert.equal(sts.calls.length, taken, 'these last');

  const expired = awsFault('ExpiredTokenException', 'The security token included in the request is expired');
  kms.fail('Sign', ({ sessionToken }) => (sessionToken === `role-token-${taken}` ? expired : undefined));
  await key.sign(message, testContext());
  assert.deepEqual([sts.calls.length, kms.calls.at(-1)?.sessionToken], [taken + 1, `role-token-${taken + 1}`]);
});

test('credentials underneath that STS refuses as expired are read anew, once', async (t) => {
  const { kms, sts, open } = await world(t);
  delete process.env['AWS_ACCESS_KEY_ID'];
  process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] = kms.credentialsUri;
  sts.fail({ code: 'ExpiredTokenException', status: 403 }, 1);
  await open();
  assert.deepEqual(sts.signedBy, ['AKIAPOD1', 'AKIAPOD2']);

  sts.fail({ code: 'InvalidClientTokenId', status: 403 });
  const before = sts.calls.length;
  const error = await rejection(open());
  assert.deepEqual([...said(error), sts.calls.length - before], ['failed_precondition', 'KEY_ACCESS_DENIED', 2]);
  assert.match(error.message, /does not accept the credentials.*InvalidClientTokenId.*clock/);
});

test('refusals name the role and the fix, and are tried once', async (t) => {
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ['AccessDenied', 403, /role\/signers\/release: .*sts:AssumeRole.*trust policy.*role\.externalId.*sts:ExternalId/],
    ['RegionDisabledException', 403, /role\/signers\/release .*activate it/],
    ['ValidationError', 400, /role\/signers\/release .*role\.durationSeconds.*MaxSessionDuration/],
    ['SomethingNew', 400, /role\/signers\/release \(SomethingNew\)/],
  ];
  for (const [code, status, words] of cases) {
    const { kms, sts, open } = await world(t);
    sts.fail({ code, status, message: 'User: arn:aws:sts::1:assumed-role/x is not authorized' });
    const error = await rejection(open());
    assert.deepEqual([...said(error), sts.calls.length], ['failed_precondition', 'KEY_ACCESS_DENIED', 1], code);
    assert.match(error.message, words);
    assert.equal(error.retryAfterMs, undefined);
    assert.match(String(error.cause), /status 40[03], request r-1: User: arn/);
    assert.doesNotMatch(whole(error), secrets);
    assert.equal(kms.calls.length, 0);
  }
});

test('failures that may pass: unavailable, and not seen when they pass while the key is opened', async (t) => {
  const faults: readonly Parameters<FakeSts['fail']>[0][] = [
    { code: 'Throttling', status: 400 },
    { code: 'ThrottlingException', status: 400 },
    { code: 'InternalFailure', status: 500 },
    { code: 'ServiceUnavailable', status: 503 },
    (response) => void response.destroy(),
  ];
  for (const fault of faults) {
    const { kms, sts, open } = await world(t);
    sts.fail(fault);
    const error = await rejection(open());
    assert.deepEqual(said(error), ['unavailable', 'KEY_UNAVAILABLE'], JSON.stringify(fault));
    assert.match(error.message, /AWS STS cannot give the service the role .*role\/signers\/release now/);
    assert.ok((error.retryAfterMs ?? 0) > 0);
    assert.equal(sts.calls.length, 3);
    assert.equal(kms.calls.length, 0);
  }
  const { sts, open } = await world(t);
  sts.fail({ code: 'Throttling', status: 400 }, 2);
  assert.ok(await (await open()).sign(message, testContext()));
});

test('while signing, a role that cannot be taken is one failed attempt', async (t) => {
  const { sts, open } = await world(t);
  sts.lasting(200_000);
  const key = await open();
  const before = sts.calls.length;
  sts.fail({ code: 'ServiceUnavailable', status: 503 });
  assert.deepEqual(said(await rejection(key.sign(message, testContext()))), ['unavailable', 'KEY_UNAVAILABLE']);
  assert.equal(sts.calls.length - before, 1);
});

test('nobody there, a hanging STS, garbage, an answer without end', async (t) => {
  const { sts, open } = await world(t);
  sts.fail((response) => void response.writeHead(200).write(Buffer.alloc(1024 * 1024, 0x20)), 1);
  assert.equal((await rejection(open())).reason, 'RESPONSE_TOO_LARGE');
  for (const body of ['<AssumeRoleResponse/>', 'no XML', '']) {
    sts.fail((response) => void response.writeHead(200).end(body), 1);
    assert.deepEqual(said(await rejection(open())), ['data_loss', 'KEY_ANSWER_MALFORMED'], body);
  }
  sts.fail(() => {}, 1);
  const before = performance.now();
  const late = await rejection(open({}, openContext('hang', 200).context));
  assert.equal(late.code, 'deadline_exceeded');
  assert.ok(performance.now() - before < 2_000);
  await sts.close();
  const error = await rejection(open());
  assert.deepEqual(said(error), ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(error.message, /refused the connection/);
});

test('no credentials underneath: as without a role', async (t) => {
  const { sts, open } = await world(t);
  delete process.env['AWS_ACCESS_KEY_ID'];
  const error = await rejection(open());
  assert.deepEqual(said(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /no AWS credentials.*give the service a role/);
  assert.equal(sts.calls.length, 0);
});

test('no region, an STS endpoint beside fips, one by plain http', async (t) => {
  const { open } = await world(t);
  assert.equal((await rejection(open({ region: undefined }))).reason, 'KEY_REGION_MISSING');
  const fips = await rejection(open({ endpoint: undefined, fips: true }));
  assert.deepEqual([fips.reason, /AWS STS has no such endpoint/.test(fips.message)], ['KEY_ENDPOINT_UNKNOWN', true]);
  process.env['AWS_ENDPOINT_URL_STS'] = 'http://sts.example';
  assert.deepEqual(said(await rejection(open())), ['failed_precondition', 'EGRESS_DENIED']);
});

test('region, FIPS and dual stack choose the endpoint of STS too', async (t) => {
  const { open } = await world(t);
  delete process.env['AWS_ENDPOINT_URL_STS'];
  const asked: string[] = [];
  t.mock.method(dns, 'lookup', (host: string, _: unknown, done: (error: Error) => void) => {
    asked.push(host);
    process.nextTick(done, Object.assign(new Error('not known'), { code: 'ENOTFOUND', hostname: host }));
  });
  for (const more of [{}, { fips: true }, { dualStack: true }, { fips: true, dualStack: true }]) {
    const error = await rejection(open({ endpoint: undefined, ...more }));
    assert.deepEqual(said(error), ['unavailable', 'KEY_UNAVAILABLE']);
    assert.match(error.message, /AWS STS .*sts[a-z0-9.-]+ is not known to DNS/);
  }
  assert.deepEqual(
    [...new Set(asked)],
    [
      `sts.${region}.amazonaws.com`,
      `sts-fips.${region}.amazonaws.com`,
      `sts.${region}.api.aws`,
      `sts-fips.${region}.api.aws`,
    ],
  );
});

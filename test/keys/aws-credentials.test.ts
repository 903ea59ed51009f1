// Whose credentials sign the requests, how they are renewed, and that they appear nowhere.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openKeyring } from '../../src/keys/keyring.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { accessKeyId, awsKey, isolateAws, message, opened, secretAccessKey, started } from './aws-world.ts';
import { awsFault, region } from './fake-kms.ts';

const whole = (error: CountersignError): string => `${error.message} ${error.stack} ${String(error.cause)}`;

test('credentials of the environment sign the requests, and appear in no error', async (t) => {
  const { kms, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  assert.match(kms.calls.at(-1)?.authorization ?? '', new RegExp(`Credential=${accessKeyId}/\\d+/${region}/kms/`));
  const explained =
    'The request signature we calculated does not match the signature you provided.\n\nThe Canonical String for this ' +
    `request should have been\n'POST\n/\n\nx-amz-security-token:pod-token-secret ${secretAccessKey}'`;
  kms.fail('Sign', awsFault('InvalidSignatureException', explained));
  const error = await rejection(ring.sign('subject', message, testContext()));
  assert.equal(error.reason, 'KEY_ACCESS_DENIED');
  assert.match(String(error.cause), /InvalidSignatureException, status 400, .*does not match/);
  assert.doesNotMatch(whole(error), new RegExp(`pod-token-secret|${secretAccessKey}|${accessKeyId}`));
});

test('credentials of a pod: read once for all keys, anew once when they expired, no storm when that does not help', async (t) => {
  const kms = await started(t);
  delete process.env['AWS_ACCESS_KEY_ID'];
  process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] = kms.credentialsUri;
  t.after(isolateAws);
  const keys = [kms.createKey(), kms.createKey()];
  const ring = openKeyring(keys.map(({ arn }, at) => ({ ...awsKey(kms.endpoint, { arn }), name: `key-${at}` })));
  t.after(() => ring.close());
  const sign = () => Promise.all(ring.names().map((name) => ring.sign(name, message, testContext())));
  await sign();
  assert.equal(kms.count('credentials'), 1);

  const expired = awsFault('ExpiredTokenException', 'The security token included in the request is expired');
  kms.fail('Sign', ({ sessionToken }) => (sessionToken === 'pod-token-1' ? expired : undefined));
  await sign();
  assert.equal(kms.count('credentials'), 2);
  assert.equal(kms.calls.at(-1)?.sessionToken, 'pod-token-2');

  kms.fail('Sign', expired);
  for (let round = 0; round < 3; round++) {
    const error = await rejection(ring.sign('key-0', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
    assert.doesNotMatch(whole(error), /pod-secret|pod-token|AKIAPOD/);
  }
  assert.equal(kms.count('credentials'), 2, 'they were read anew a moment ago');
});

test('no credentials: what to do, and whether it may pass', async (t) => {
  t.after(isolateAws);
  const cases: readonly (readonly [Record<string, string>, string, RegExp])[] = [
    [{}, 'KEY_ACCESS_DENIED', /no AWS credentials.*CredentialsProviderError.*give the service a role/],
    [
      { AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/x', AWS_WEB_IDENTITY_TOKEN_FILE: '/nonexistent/token' },
      'KEY_ACCESS_DENIED',
      /no AWS credentials.*ENOENT/,
    ],
    [
      {
        AWS_ROLE_ARN: 'arn:aws:iam::111122223333:role/x',
        AWS_WEB_IDENTITY_TOKEN_FILE: import.meta.filename,
        AWS_ENDPOINT_URL_STS: 'http://127.0.0.1:9',
      },
      'KEY_UNAVAILABLE',
      /source of the AWS credentials.*ECONNREFUSED/,
    ],
  ];
  for (const [environment, reason, words] of cases) {
    isolateAws();
    delete process.env['AWS_ACCESS_KEY_ID'];
    Object.assign(process.env, environment);
    const { kms, ring } = await opened(t);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.equal(error.reason, reason);
    assert.match(error.message, words);
    assert.equal(kms.calls.length, 0);
  }
});

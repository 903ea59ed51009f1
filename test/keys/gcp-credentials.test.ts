import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { compactVerify } from 'jose';
import { createGcpClient } from '../../src/keys/gcp/client.ts';
import { readGcpCredentialsFile } from '../../src/keys/gcp/credentials-file.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { selfSigned } from '../certificates.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { gcpKey, keyOf, message, ringOf, started } from './gcp-world.ts';

const filesOf = (t: TestContext) => {
  const directory = mkdtempSync(join(tmpdir(), 'gcp-'));
  t.after(() => rmSync(directory, { recursive: true }));
  return (name: string, value: unknown): string => {
    const path = join(directory, name);
    writeFileSync(path, typeof value === 'string' ? value : JSON.stringify(value));
    return path;
  };
};

const account = () => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const file = {
    type: 'service_account',
    client_email: 'signer@my-project.iam.gserviceaccount.com',
    private_key_id: 'key-id',
    private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    token_uri: 'https://evil.example/token',
  };
  return { file, publicKey };
};

const external = (origin: string, subject: object) => ({
  type: 'external_account',
  audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  token_url: `${origin}/v1/token`,
  credential_source: subject,
});

/** A token service (RFC 8693): gives `token-1`, `token-2`, ... or a refusal. */
const startSts = async (t: TestContext) => {
  const asked: URLSearchParams[] = [];
  const fault: { status?: number; body?: object } = {};
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    asked.push(new URLSearchParams(Buffer.concat(chunks).toString()));
    const body = { access_token: `token-${asked.length}`, expires_in: 3600, token_type: 'Bearer' };
    response.writeHead(fault.status ?? 200, { 'content-type': 'application/json' });
    response.end(
      JSON.stringify(fault.body ?? { ...body, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, fault };
};

test('a service account over TLS: a token that it signs itself, no token service asked', async (t) => {
  const pair = selfSigned();
  const write = filesOf(t);
  const { file, publicKey } = account();
  const kms = await started(t, pair);
  const key = kms.createKey();
  const credentialsFile = write('account.json', file);
  const untrusted = await rejection(
    ringOf(t, kms.endpoint, key.name, { credentialsFile }).describe('subject', testContext()),
  );
  assert.deepEqual([untrusted.code, untrusted.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  assert.match(untrusted.message, /did not pass TLS verification: check endpoint and caFile/);
  assert.equal(kms.calls.length, 0);
  const ring = ringOf(t, kms.endpoint, key.name, { credentialsFile, caFile: write('ca.pem', pair.cert) });
  await ring.sign('subject', message, testContext());
  const tokens = new Set(kms.calls.map(({ metadata }) => String(metadata['authorization'])));
  assert.equal(tokens.size, 1);
  const token = [...tokens][0]?.replace(/^Bearer /, '') ?? '';
  const { payload, protectedHeader } = await compactVerify(token, publicKey);
  const claims = JSON.parse(Buffer.from(payload).toString());
  assert.deepEqual(
    [protectedHeader.kid, claims.iss, claims.sub, claims.scope],
    ['key-id', file.client_email, file.client_email, 'https://www.googleapis.com/auth/cloudkms'],
  );
});

test('workload identity federation: the token of the machine is changed for one of Google, once', async (t) => {
  const write = filesOf(t);
  const sts = await startSts(t);
  const kms = await started(t);
  const token = write('token', 'the-token-of-the-pod');
  const credentialsFile = write('wif.json', external(sts.origin, { file: token }));
  const [one, two] = [kms.createKey(), kms.createKey()];
  const named = (name: string, key: string) => ({ ...gcpKey(kms.endpoint, key, { credentialsFile }), name });
  const ring = openKeyring([named('one', one.name), named('two', two.name)]);
  t.after(() => ring.close());
  await Promise.all(['one', 'two', 'one', 'two'].map((name) => ring.sign(name, message, testContext())));
  assert.equal(sts.asked.length, 1);
  assert.equal(sts.asked[0]?.get('subject_token'), 'the-token-of-the-pod');
  assert.equal(sts.asked[0]?.get('scope'), 'https://www.googleapis.com/auth/cloudkms');
  for (const { metadata } of kms.calls) assert.equal(metadata['authorization'], 'Bearer token-1');
});

test('a token that is refused is renewed once; a wrong identity is not a storm', async (t) => {
  const write = filesOf(t);
  const sts = await startSts(t);
  const kms = await started(t);
  const credentialsFile = write('wif.json', external(sts.origin, { file: write('token', 'x') }));
  const key = await keyOf(t, kms.endpoint, kms.createKey().name, { credentialsFile });
  kms.authorize((authorization) => authorization === 'Bearer token-2');
  const before = kms.count('AsymmetricSign');
  await Promise.all(Array.from({ length: 8 }, () => key.sign(message, testContext())));
  assert.equal(sts.asked.length, 2);
  assert.ok(kms.count('AsymmetricSign') - before <= 16);
  kms.authorize(() => false);
  for (let round = 0; round < 3; round++) {
    const error = await rejection(key.sign(message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
    assert.match(error.message, /credentials: renew them/);
  }
  assert.equal(sts.asked.length, 2);
});

test('a token service that fails, refuses or is not there, each told apart; no secret is told', async (t) => {
  const write = filesOf(t);
  const sts = await startSts(t);
  const kms = await started(t);
  const token = write('token', 'the-secret');
  const opening = async (origin: string): Promise<CountersignError> => {
    const credentialsFile = write('wif.json', external(origin, { file: token }));
    const ring = ringOf(t, kms.endpoint, kms.createKey().name, { credentialsFile });
    return rejection(ring.describe('subject', openContext('short', 5_000).context));
  };
  sts.fault.status = 400;
  sts.fault.body = { error: 'invalid_grant', error_description: 'the-secret is not valid' };
  const refused = await opening(sts.origin);
  assert.deepEqual([refused.code, refused.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(refused.message, /There are no Google credentials .*invalid_grant/);
  sts.fault.status = 403;
  sts.fault.body = {};
  assert.equal((await opening(sts.origin)).reason, 'KEY_ACCESS_DENIED');
  const absent = await opening('http://127.0.0.1:9');
  assert.deepEqual([absent.code, absent.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  for (const error of [refused, absent]) {
    const told = `${error.message} ${error.cause instanceof Error ? error.cause.stack : ''}`;
    assert.doesNotMatch(told, /the-secret/);
  }
  assert.equal(kms.calls.length, 0);
});

test('a file of credentials that is not there', async (t) => {
  const kms = await started(t);
  const ring = ringOf(t, kms.endpoint, kms.createKey().name, { credentialsFile: '/nonexistent/x.json' });
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_FILE_UNREADABLE']);
  assert.match(error.message, /Google credentials file \/nonexistent\/x\.json: there is no such file/);
});

test('no credentials at all', async (t) => {
  const client = createGcpClient({
    endpoint: undefined,
    ca: undefined,
    credentialsFile: undefined,
    impersonate: undefined,
  });
  t.after(() => client.close());
  const error = await rejection(client.getVersion('x', testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /There are no Google credentials for Google Cloud KMS \(cloudkms\.googleapis\.com\)/);
});

test('the egress policy is asked for the endpoint', () => {
  const at = (endpoint: string) => () =>
    createGcpClient({ endpoint, ca: undefined, credentialsFile: undefined, impersonate: undefined });
  for (const endpoint of ['https://169.254.169.254', 'http://kms.internal']) {
    assert.throws(at(endpoint), (error) => error instanceof CountersignError && error.reason === 'EGRESS_DENIED');
  }
});

test('files of credentials: what is read, and what is refused with its field and no value', async (t) => {
  const write = filesOf(t);
  const { file } = account();
  const sts = 'https://sts.googleapis.com';
  const good = external(sts, { file: '/var/run/token' });
  const iam = 'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com';
  const impersonated = {
    type: 'impersonated_service_account',
    source_credentials: file,
    service_account_impersonation_url: `${iam}:generateAccessToken`,
  };
  const aws = {
    environment_id: 'aws1',
    region_url: 'http://169.254.169.254/latest/meta-data/placement/availability-zone',
    url: 'http://169.254.169.254/latest/meta-data/iam/security-credentials',
    regional_cred_verification_url: 'https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15',
  };
  const azure = { url: 'http://169.254.169.254/metadata/identity/oauth2/token', headers: { Metadata: 'True' } };
  for (const value of [file, good, impersonated, external(sts, aws), external(sts, azure)]) {
    assert.equal((await readGcpCredentialsFile(write('good.json', value))).type, value.type);
  }
  const cases: readonly (readonly [unknown, RegExp])[] = [
    ['the-secret', /it is not JSON/],
    [
      { type: 'authorized_user', refresh_token: 'the-secret' },
      /type: must be of type external_account, service_account/,
    ],
    [{ ...file, private_key: 'the-secret' }, /private_key: must be a private key in PEM/],
    [{ ...file, client_email: undefined }, /client_email: /],
    [{ ...file, universe_domain: 'evil.example' }, /universe_domain: /],
    [
      { ...good, token_url: 'https://sts.googleapis.com.evil.example/v1/token' },
      /token_url: must be an https address of googleapis/,
    ],
    [{ ...good, token_url: 'http://sts.googleapis.com/v1/token' }, /token_url: /],
    [{ ...good, service_account_impersonation_url: 'https://evil.example/' }, /service_account_impersonation_url: /],
    [
      external(sts, { executable: { command: '/bin/the-secret' } }),
      /credential_source: .*executable and certificate are not used/,
    ],
    [external(sts, { url: 'http://evil.example/' }), /credential_source\.url: must be https; http is for loopback/],
    [external(sts, { ...aws, url: 'http://evil.example/' }), /credential_source.*: must be a/],
    [
      external(sts, { ...aws, regional_cred_verification_url: 'https://evil.example/' }),
      /credential_source.*: must be /,
    ],
    [{ ...impersonated, source_credentials: { type: 'authorized_user' } }, /source_credentials.*: must be of type/],
  ];
  for (const [value, words] of cases) {
    const error = await rejection(readGcpCredentialsFile(write('bad.json', value)));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_FILE_INVALID']);
    assert.match(error.message, words);
    assert.doesNotMatch(error.message, /the-secret/);
  }
});

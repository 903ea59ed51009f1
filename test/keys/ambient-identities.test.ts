// Who the service is where it runs, as registries ask it: from the environment that each cloud sets.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAmbientIdentities } from '../../src/keys/ambient-identities.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { inspected } from '../registry/credential-world.ts';
import { isolateAzure, written } from './azure-world.ts';
import { clientId, startFakeAzure, tenantId } from './fake-azure.ts';

const isolate = (t: TestContext, pattern: RegExp, set: Record<string, string>): void => {
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) if (pattern.test(name)) delete process.env[name];
  Object.assign(process.env, set);
  t.after(() => {
    for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
    Object.assign(process.env, before);
  });
};

const opened = (t: TestContext, ca: readonly string[] = []) => {
  const identities = createAmbientIdentities({ createHttp: (options) => createHttpClient({ ...options, ca }) });
  t.after(() => identities.close());
  return identities;
};

const scope = 'https://containerregistry.azure.net/.default';
const azureAsked = { scope, authorityHost: undefined, clientId: undefined };

test('Azure, workload identity: the federated token of the pod for one of the registry, kept', async (t) => {
  t.after(isolateAzure);
  const azure = await startFakeAzure();
  t.after(() => azure.close());
  Object.assign(process.env, {
    AZURE_TENANT_ID: tenantId,
    AZURE_CLIENT_ID: clientId,
    AZURE_AUTHORITY_HOST: `${azure.origin}/`,
    AZURE_FEDERATED_TOKEN_FILE: written('a.federated.token'),
  });
  const identities = opened(t, [azure.ca]);
  const tokens = await Promise.all([
    identities.azure(azureAsked, testContext(), false),
    identities.azure(azureAsked, testContext(), false),
  ]);
  assert.equal(tokens[0].token, tokens[1].token);
  assert.ok(tokens[0].token !== '' && tokens[0].lifetimeMs > 60_000);
  assert.equal(azure.count('token'), 1);
  const form = new URLSearchParams(azure.calls.find(({ operation }) => operation === 'token')?.body);
  assert.equal(form.get('client_assertion'), 'a.federated.token');
  assert.notEqual((await identities.azure(azureAsked, testContext(), true)).token, tokens[0].token, 'had anew');
  assert.deepEqual((form.get('scope') ?? '').split(' ').includes(scope), true);
});

test('Azure, managed identity: from the endpoint of the platform, of the identity that is asked for', async (t) => {
  t.after(isolateAzure);
  const azure = await startFakeAzure();
  t.after(() => azure.close());
  Object.assign(process.env, { IDENTITY_ENDPOINT: azure.identityEndpoint, IDENTITY_HEADER: 'the-header' });
  const identities = opened(t);
  const { token } = await identities.azure({ ...azureAsked, clientId }, testContext(), false);
  assert.notEqual(token, '');
  const call = azure.calls.find(({ operation }) => operation === 'identity');
  const query = new URL(call?.path ?? '/', 'http://identity').searchParams;
  assert.equal(query.get('resource'), 'https://containerregistry.azure.net');
  assert.equal(query.get('client_id'), clientId);
});

/** A token service (RFC 8693): gives `ya29.1`, `ya29.2`, ... */
const startSts = async (t: TestContext) => {
  const asked: URLSearchParams[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    asked.push(new URLSearchParams(Buffer.concat(chunks).toString()));
    const issued = { access_token: `ya29.${asked.length}`, expires_in: 3600, token_type: 'Bearer' };
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ ...issued, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
};

test('Google: the application default credentials, with the scope of Artifact Registry, kept', async (t) => {
  const sts = await startSts(t);
  const folder = mkdtempSync(join(tmpdir(), 'ambient-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [pod, file] = [join(folder, 'pod'), join(folder, 'wif.json')];
  writeFileSync(pod, 'token-of-the-pod');
  const account = {
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/provider',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: `${sts.origin}/v1/token`,
    credential_source: { file: pod },
  };
  writeFileSync(file, JSON.stringify(account));
  isolate(t, /^GOOGLE_/, { GOOGLE_APPLICATION_CREDENTIALS: file });
  const identities = opened(t);
  const first = await identities.google(testContext(), false);
  assert.deepEqual([first.token, (await identities.google(testContext(), false)).token], ['ya29.1', 'ya29.1']);
  const [asked, ...more] = sts.asked;
  assert.equal(more.length, 0);
  assert.equal(asked?.get('scope'), 'https://www.googleapis.com/auth/cloud-platform');
  assert.equal(asked?.get('subject_token'), 'token-of-the-pod');
  assert.equal((await identities.google(testContext(), true)).token, 'ya29.2', 'had anew');

  // What a file of credentials may not do for a key, it may not do here.
  writeFileSync(file, JSON.stringify({ ...account, token_url: 'https://evil.example/token' }));
  const error = await rejection(opened(t).google(testContext(), false));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_FILE_INVALID']);
  assert.doesNotMatch(inspected(error), /token-of-the-pod/);
});

test('AWS: the environment, and a typed error where it has nothing', async (t) => {
  const files = { AWS_CONFIG_FILE: '/nonexistent', AWS_SHARED_CREDENTIALS_FILE: '/nonexistent' };
  const nothing = { ...files, AWS_EC2_METADATA_DISABLED: 'true' };
  isolate(t, /^AWS_/, { ...nothing, AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'of-aws' });
  assert.deepEqual(await opened(t).aws(testContext(), false), { accessKeyId: 'AKIA', secretAccessKey: 'of-aws' });
  isolate(t, /^AWS_/, nothing);
  const error: CountersignError = await rejection(opened(t).aws(testContext(), false));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
});

test('Azure: an identity that cannot be had is a typed error', async (t) => {
  t.after(isolateAzure);
  const identities = opened(t);
  Object.assign(process.env, { AZURE_FEDERATED_TOKEN_FILE: '/nonexistent/token', AZURE_TENANT_ID: tenantId });
  const error = await rejection(identities.azure(azureAsked, testContext(), false));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
});

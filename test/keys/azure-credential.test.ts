// Alone in its process: the SDK finds the source of managed identities once in a process.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import type { CountersignError } from '../../src/model/error.ts';
import { openContext } from '../../src/model/context.ts';
import { selfSigned } from '../certificates.ts';
import { rejection, testContext } from '../contract/keys/contract.ts';
import { azureKey, isolateAzure, message, opened, openedAt, reset, ringOf, started, written } from './azure-world.ts';
import { azureFault, clientId, clientSecret, type FakeAzure, tenantId } from './fake-azure.ts';

const reached = (error: CountersignError) => [error.code, error.reason];
const whole = (error: CountersignError): string => `${error.message} ${error.stack} ${String(error.cause)}`;
const tokenRequest = (azure: FakeAzure): URLSearchParams =>
  new URLSearchParams(azure.calls.find(({ operation }) => operation === 'token')?.body ?? assert.fail('no token'));

test('client secret: in the settings or in a file that is read again when the secret is refused', async (t) => {
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  const asked = tokenRequest(azure);
  assert.equal(asked.get('client_secret'), clientSecret);
  assert.equal(asked.get('client_id'), clientId);
  assert.match(asked.get('scope') ?? '', /^https:\/\/vault\.azure\.net\/\.default/);

  const secretFile = written('an-old-secret\n');
  const credential = { method: 'client-secret', tenantId, clientId, secretFile };
  const other = ringOf(t, [azureKey(azure, { credential, refreshSeconds: 0 })]);
  const error = await rejection(other.describe('subject', testContext()));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /no token for Azure Key Vault.*AADSTS7000215.*check the credential/);
  assert.doesNotMatch(whole(error), /an-old-secret/);
  writeFileSync(secretFile, `${clientSecret}\n`);
  const again = ringOf(t, [azureKey(azure, { credential })]);
  assert.ok(await again.sign('subject', message, testContext()));
});

test('workload identity: the federated token of the pod, from the environment or the settings', async (t) => {
  t.after(isolateAzure);
  const tokenFile = written('a.federated.token');
  Object.assign(process.env, {
    AZURE_TENANT_ID: tenantId,
    AZURE_CLIENT_ID: clientId,
    AZURE_FEDERATED_TOKEN_FILE: tokenFile,
  });
  for (const more of [{}, { tenantId, clientId, tokenFile }]) {
    const { azure, ring } = await opened(t, 'P-256', { credential: { method: 'workload-identity', ...more } });
    await ring.sign('subject', message, testContext());
    assert.equal(tokenRequest(azure).get('client_assertion'), 'a.federated.token');
    isolateAzure();
  }
  const { ring } = await opened(t, 'P-256', { credential: { method: 'workload-identity', tenantId } });
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  assert.match(error.message, /credential\.clientId, or AZURE_CLIENT_ID/);
  const absent = { method: 'workload-identity', tenantId, clientId, tokenFile: '/nonexistent/token' };
  const { ring: without } = await opened(t, 'P-256', { credential: absent });
  assert.match((await rejection(without.describe('subject', testContext()))).message, /no token.*ENOENT/);
});

test('client certificate: an assertion signed with its key', async (t) => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certificateFile = written(
    `${selfSigned().cert}${privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()}`,
  );
  const credential = { method: 'client-certificate', tenantId, clientId, certificateFile };
  const { azure, ring } = await opened(t, 'P-256', { credential });
  await ring.sign('subject', message, testContext());
  const [, claims] = (tokenRequest(azure).get('client_assertion') ?? '').split('.');
  assert.equal(JSON.parse(Buffer.from(claims ?? '', 'base64url').toString()).sub, clientId);

  const missing = { ...credential, certificateFile: '/nonexistent/cert.pem' };
  const { ring: without } = await opened(t, 'P-256', { credential: missing });
  assert.equal((await rejection(without.describe('subject', testContext()))).reason, 'KEY_FILE_UNREADABLE');
  const { ring: garbage } = await opened(t, 'P-256', { credential: { ...credential, certificateFile: written('x') } });
  assert.equal((await rejection(garbage.describe('subject', testContext()))).reason, 'KEY_ACCESS_DENIED');
});

test('managed identity: of the platform, by its endpoint; its refusals', async (t) => {
  t.after(isolateAzure);
  const azure = await started(t);
  azure.addVersion('release');
  Object.assign(process.env, { IDENTITY_ENDPOINT: azure.identityEndpoint, IDENTITY_HEADER: 'the-header' });
  const credential = { method: 'managed-identity' };
  azure.fail(
    'identity',
    { status: 400, body: { error: 'invalid_request', error_description: 'Identity not found' } },
    1,
  );
  const ring = ringOf(t, [azureKey(azure, { credential })]);
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  const again = ringOf(t, [azureKey(azure, { credential })]);
  assert.ok(await again.sign('subject', message, testContext()));
  assert.equal(azure.count('identity'), 2);
  assert.match(azure.calls.findLast(({ operation }) => operation === 'identity')?.path ?? '', /resource=https.*vault/);
});

test('an issuer that fails for a moment is not seen, and asked again at once when that is over', async (t) => {
  const { azure, ring } = await opened(t);
  azure.fail('token', { status: 503, body: { error: 'temporarily_unavailable', error_description: 'x' } }, 1);
  azure.fail('openid', reset, 1);
  assert.ok(await ring.sign('subject', message, testContext()));
});

test('an issuer that is down, or throttles: unavailable with a delay; it is named', async (t) => {
  for (const fault of [
    reset,
    { status: 500, body: 'x' },
    { status: 429, body: { error: 'x', error_description: 'y' } },
  ]) {
    const { azure, ring } = await opened(t);
    azure.fail('token', fault);
    const error = await rejection(ring.describe('subject', testContext()));
    assert.deepEqual(reached(error), ['unavailable', 'KEY_UNAVAILABLE']);
    assert.match(error.message, /issuer of tokens/);
    assert.ok((error.retryAfterMs ?? 0) > 0);
    assert.equal(azure.count('token'), 3);
  }
});

test('an issuer that hangs: the deadline of the request ends it', async (t) => {
  const { azure, ring } = await opened(t);
  azure.fail('token', () => 'handled');
  const before = performance.now();
  const error = await rejection(ring.sign('subject', message, openContext('hang', 200).context));
  assert.equal(error.code, 'deadline_exceeded');
  assert.ok(performance.now() - before < 2_000);
});

test('a token that the vault refuses is renewed once; no storm when that does not help, and no token in an error', async (t) => {
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  azure.revokeTokens();
  assert.ok(await ring.sign('subject', message, testContext()));
  assert.equal(azure.count('token'), 2);

  azure.fail('sign', { status: 401, body: '' });
  for (let round = 0; round < 3; round++) {
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
    assert.match(error.message, /does not accept the service's token/);
    assert.doesNotMatch(whole(error), /token-[0-9a-f]{16}/);
  }
  assert.equal(azure.count('token'), 2, 'it was renewed a moment ago');
});

test('a credential that is refused later on is not tried with every signature', async (t) => {
  const { azure, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  azure.revokeTokens();
  const error_description = 'AADSTS7000222: The provided client secret keys are expired.';
  azure.fail('token', { status: 401, body: { error: 'invalid_client', error_description } });
  const before = azure.count('token');
  for (let round = 0; round < 5; round++) {
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual(reached(error), ['failed_precondition', 'KEY_ACCESS_DENIED']);
  }
  assert.equal(azure.count('token') - before, 1);
});

test('many who need a token share one', async (t) => {
  const { azure, ring } = await opened(t);
  await Promise.all(Array.from({ length: 16 }, () => ring.sign('subject', message, testContext())));
  assert.equal(azure.count('token'), 1);
});

test('sovereign clouds: their own issuers, the resource of their own vaults', async (t) => {
  const cases = [
    // The library asks the host that Entra ID prefers for its older name login.chinacloudapi.cn.
    ['unit.vault.azure.cn', 'login.partner.microsoftonline.cn', 'https://vault.azure.cn'],
    ['unit.managedhsm.usgovcloudapi.net', 'login.microsoftonline.us', 'https://managedhsm.usgovcloudapi.net'],
    ['unit.vault.azure.net', 'login.microsoftonline.com', 'https://vault.azure.net'],
  ] as const;
  for (const [host, issuer, resource] of cases) {
    const hosts: string[] = [];
    const { azure, ring } = await openedAt(t, host, {}, (asked) => hosts.push(asked));
    await ring.sign('subject', message, testContext());
    assert.ok(hosts.includes(issuer), hosts.join());
    assert.deepEqual([...new Set(hosts)].toSorted(), [host, issuer].toSorted());
    assert.match(tokenRequest(azure).get('scope') ?? '', new RegExp(`^${resource}/\\.default`));
  }
});

test('denied by its role for a moment after it was assigned, then not', async (t) => {
  const { azure, ring } = await opened(t);
  azure.fail('versions', azureFault(403, 'Forbidden', 'ForbiddenByRbac'), 1);
  assert.equal((await rejection(ring.describe('subject', testContext()))).reason, 'KEY_ACCESS_DENIED');
});

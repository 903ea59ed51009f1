// The real Vault on its bad days, under a real service: test/e2e/vault-faults.test.ts has the same for every fault there is.
import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { assertComplete } from '../e2e/audit-trail.ts';
import { assertRefused, assertSigned, type Edges, type Expected, openEdges, refusal } from '../e2e/both-edges.ts';
import { type ServiceWorld, startServiceWorld } from '../service-world.ts';
import { skipWithout } from './peer.ts';
import { startVault, type Vault } from './vault.ts';

const deadlineMs = 5_000;
const request = { subject: { blob: { name: 'a', content: 'aGVsbG8=' } }, key: 'release' };

/** Both edges answer so, in time, and the audit log tells of an intent that failed. */
const assertFails = async (world: ServiceWorld, edges: Edges, expected: Expected, what: string): Promise<void> => {
  const outcomes = await edges.both('/v1/sign', request);
  for (const outcome of outcomes) {
    assertRefused(outcome, expected, what);
    assert.ok(outcome.ms < deadlineMs + 4_000, `${what}: ${outcome.ms} ms`);
  }
  const ids = outcomes.map(({ requestId }) => requestId);
  const records = await assertComplete(world.auditFile, ids);
  assert.deepEqual(records.map(({ event }) => event).toSorted(), ['failed', 'failed', 'intended', 'intended'], what);
  const ends = records.filter(({ event }) => event === 'failed');
  assert.ok(
    ends.every(({ error }) => error?.reason === expected.reason),
    what,
  );
};

describe('the real Vault fails under the service', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  before(async () => {
    vault = await startVault();
    await vault.createKey('release', 'ecdsa-p256');
    await must('POST', 'sys/auth/approle', { type: 'approle' });
  });
  after(() => vault.stop());

  const must = async <Body>(method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await vault.request<Body>(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const mayRead = 'path "transit/keys/release" { capabilities = ["read"] }';
  const maySign = `${mayRead} path "transit/sign/release/*" { capabilities = ["update"] }`;

  const serve = async (t: TestContext, login: object, address = vault.addr) => {
    const world = await startServiceWorld({
      plainHttpHosts: [],
      keys: [{ name: 'release', kind: 'vault', address, key: 'release', login }],
      settings: { limits: { maxRequestMs: deadlineMs } },
    });
    const edges = openEdges(world);
    t.after(async () => {
      edges.close();
      await world.stop();
    });
    assertSigned(await edges.grpc('/v1/sign', request), 'before');
    return { world, edges };
  };
  const approle = async (role: string): Promise<object> => {
    await must('PUT', `sys/policies/acl/${role}`, { policy: maySign });
    await must('POST', `auth/approle/role/${role}`, { token_policies: role, token_ttl: '1h' });
    const id = await must<{ data: { role_id: string } }>('GET', `auth/approle/role/${role}/role-id`);
    const secret = await must<{ data: { secret_id: string } }>('POST', `auth/approle/role/${role}/secret-id`, {});
    return { method: 'approle', roleId: id.data.role_id, secretId: secret.data.secret_id };
  };

  test('a revoked token: AppRole logs in again unnoticed; a fixed token is refused', async (t) => {
    const { edges } = await serve(t, await approle('revoked'));
    await must('PUT', 'sys/leases/revoke-prefix/auth/approle/login', {});
    for (const outcome of await edges.both('/v1/sign', request)) assertSigned(outcome, 'logged in again');

    await must('PUT', 'sys/policies/acl/fixed', { policy: maySign });
    const made = await must<{ auth: { client_token: string } }>('POST', 'auth/token/create', { policies: ['fixed'] });
    const token = made.auth.client_token;
    const fixed = await serve(t, { method: 'token', token });
    await must('POST', 'auth/token/revoke', { token });
    await assertFails(fixed.world, fixed.edges, refusal('failed_precondition', 'KEY_ACCESS_DENIED'), 'revoked');
  });

  test('permission denied by policy, and given back', async (t) => {
    const { world, edges } = await serve(t, await approle('denied'));
    await must('PUT', 'sys/policies/acl/denied', { policy: mayRead });
    await assertFails(world, edges, refusal('failed_precondition', 'KEY_ACCESS_DENIED'), 'denied');
    await must('PUT', 'sys/policies/acl/denied', { policy: maySign });
    for (const outcome of await edges.both('/v1/sign', request)) assertSigned(outcome, 'given back');
  });

  test('a rate limit quota', async (t) => {
    const { world, edges } = await serve(t, await approle('limited'));
    const quota = { path: 'transit/sign/release/*', rate: 1, interval: '60s' };
    await must('POST', 'sys/quotas/rate-limit/limited', quota);
    t.after(() => must('DELETE', 'sys/quotas/rate-limit/limited'));
    assertSigned(await edges.rest('/v1/sign', request), 'the one that the quota allows');
    const throttled = refusal('resource_exhausted', 'KEY_THROTTLED', { min: 1, max: 60_000 });
    await assertFails(world, edges, throttled, 'limited');
  });

  test('sealed, then stopped', async (t) => {
    const own = await startVault();
    t.after(() => own.stop());
    await own.createKey('release', 'ecdsa-p256');
    const { world, edges } = await serve(t, { method: 'token', token: own.token }, own.addr);
    await own.request('PUT', 'sys/seal');
    await assertFails(world, edges, refusal('unavailable', 'KEY_SEALED', { min: 1, max: 10_000 }), 'sealed');
    await own.stop();
    const gone = refusal('unavailable', 'KEY_UNAVAILABLE', { min: 1, max: 1_000 });
    for (const round of ['third', 'fourth', 'fifth in a row']) {
      assertRefused(await edges.rest('/v1/sign', request), gone, `stopped, ${round}`);
    }
    const open = refusal('unavailable', 'KEY_BREAKER_OPEN', { min: 1, max: 60_000 });
    assertRefused(await edges.grpc('/v1/sign', request), open, 'left alone');
  });
});

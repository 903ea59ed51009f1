// Logins and tokens of Vault that end or fail, behind a real service.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { type FakeVault, startFakeVault } from '../keys/fake-vault.ts';
import { approle, login, signing } from '../keys/vault-world.ts';
import { startServiceWorld } from '../service-world.ts';
import { assertComplete } from './audit-trail.ts';
import { assertRefused, assertSigned, type Expected, openEdges, refusal } from './both-edges.ts';
import { deadlineMs, errors, hang, idsOf, late, marginMs, patientMs, sealed, soon } from './vault-fault-cases.ts';

describe('tokens of Vault', { concurrency: true }, () => {
  const open = async (fault?: Parameters<FakeVault['fail']>[1], maxRequestMs = patientMs) => {
    const vault = await startFakeVault();
    vault.createKey('release');
    if (fault !== undefined) vault.fail(/./, fault);
    const world = await startServiceWorld({
      plainHttpHosts: [],
      keys: [{ name: 'release', kind: 'vault', address: vault.address, key: 'release', login: approle }],
      settings: { limits: { maxRequestMs } },
    });
    const edges = openEdges(world);
    const close = async (): Promise<void> => {
      edges.close();
      await world.stop();
      await vault.close();
    };
    return { vault, world, edges, close };
  };
  const request = { subject: { blob: { name: 'a', content: 'aGVsbG8=' } }, key: 'release' };

  test('expired: it logs in again, and no caller notices', async (t) => {
    const { vault, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    const before = vault.count(login);
    for (const outcome of await edges.both('/v1/sign', request)) assertSigned(outcome, 'after');
    assert.equal(vault.count(login) - before, 1);
  });

  test('expired, and the login is refused', async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    vault.fail(login, errors(400, 'invalid role or secret ID'));
    const outcomes = await edges.both('/v1/sign', request);
    for (const outcome of outcomes) {
      assertRefused(outcome, refusal('failed_precondition', 'KEY_ACCESS_DENIED'), 'refused');
    }
    await assertComplete(world.auditFile, idsOf(outcomes));
  });

  test('expired, and the login fails for a while: retryable until it works', async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.revokeTokens();
    vault.fail(login, errors(500, 'internal error'));
    const ids: string[] = [];
    for (const round of ['first', 'second']) {
      for (const outcome of await edges.both('/v1/sign', request)) {
        assertRefused(outcome, refusal('unavailable', 'KEY_UNAVAILABLE', soon), round);
        ids.push(outcome.requestId);
      }
    }
    vault.heal();
    // A failed login is remembered for a second; after five failures the backend is left alone for up to five.
    const giveUp = performance.now() + 10_000;
    let outcome = await edges.grpc('/v1/sign', request);
    while (outcome.signed === undefined && performance.now() < giveUp) {
      const reason = outcome.reason === 'KEY_BREAKER_OPEN' ? outcome.reason : 'KEY_UNAVAILABLE';
      assertRefused(outcome, refusal('unavailable', reason, { min: 1, max: 5_000 }), 'not yet');
      ids.push(outcome.requestId);
      await delay(100);
      outcome = await edges.grpc('/v1/sign', request);
    }
    assertSigned(outcome, 'healed');
    await assertComplete(world.auditFile, [...ids, outcome.requestId]);
  });

  const fromTheStart: readonly (readonly [string, Parameters<FakeVault['fail']>[1], Expected])[] = [
    ['sealed', errors(503, 'Vault is sealed'), sealed],
    // The key is tried again after five seconds, and not before.
    ['500', errors(500), refusal('unavailable', 'KEY_UNAVAILABLE', { min: 5_000, max: 5_000 })],
    ['hang', hang, late],
  ];
  for (const [name, fault, expected] of fromTheStart) {
    test(`${name} from the start: no intent, no use of the key, one failed record a request`, async (t) => {
      const { vault, world, edges, close } = await open(fault, expected === late ? deadlineMs : patientMs);
      t.after(close);
      const outcomes = await edges.both('/v1/sign', request);
      for (const outcome of outcomes) {
        assertRefused(outcome, expected, name);
        if (expected === late) assert.ok(outcome.ms < deadlineMs + marginMs, `${outcome.edge} took ${outcome.ms} ms`);
      }
      const records = await assertComplete(world.auditFile, idsOf(outcomes));
      assert.deepEqual(
        records.map(({ event, intent, error }) => [event, intent, error?.reason]),
        outcomes.map(() => ['failed', undefined, expected.reason]),
      );
      assert.equal(vault.count(signing), 0);
    });
  }

  test("the caller's own deadline is kept too", async (t) => {
    const { vault, world, edges, close } = await open();
    t.after(close);
    assertSigned(await edges.rest('/v1/sign', request), 'before');
    vault.fail(signing, hang);
    const outcome = await edges.rest('/v1/sign', request, { headers: { prefer: 'wait=1' } });
    assertRefused(outcome, late, 'wait=1');
    assert.ok(outcome.ms > 900 && outcome.ms < 1_000 + marginMs, `${outcome.ms}`);
    await assertComplete(world.auditFile, [outcome.requestId]);
  });
});

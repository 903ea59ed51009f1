// An audit log that cannot be written: no key is used, and everything else goes on.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pushImage } from '../../src/dev/image.ts';
import { startFakeVault } from '../keys/fake-vault.ts';
import { approle, signing } from '../keys/vault-world.ts';
import { startServiceWorld } from '../service-world.ts';
import { assertComplete, assertSound, readTrail } from './audit-trail.ts';
import { assertRefused, assertSigned, type Expected, openEdges } from './both-edges.ts';
import { startGatedRegistry } from './gated-registry.ts';

const unavailable: Expected = { code: 'unavailable', reason: 'AUDIT_UNAVAILABLE', retry: { min: 1, max: 10_000 } };

/** A service whose audit log is `file`, or one in a folder of its own. */
const start = async (t: TestContext, file?: string) => {
  const home = mkdtempSync(join(tmpdir(), 'countersign-audit-'));
  const folder = join(home, 'audit');
  mkdirSync(folder);
  const auditFile = file ?? join(folder, 'audit.jsonl');
  const [vault, registry] = await Promise.all([startFakeVault(), startGatedRegistry()]);
  vault.createKey('release');
  await pushImage(registry.host, 'acme/app', 'v1');
  const world = await startServiceWorld({
    plainHttpHosts: [registry.host],
    keys: [{ name: 'release', kind: 'vault', address: vault.address, key: 'release', login: approle }],
    settings: { audit: { kind: 'file', file: auditFile } },
  });
  const edges = openEdges(world);
  t.after(async () => {
    edges.close();
    await world.stop();
    await Promise.all([vault.close(), registry.close()]);
    rmSync(home, { recursive: true, force: true });
  });
  const image = `${registry.host}/acme/app:v1`;
  const admin = async (path: string): Promise<number> => {
    const response = await fetch(`http://${world.service.addresses.admin}${path}`);
    await response.arrayBuffer();
    return response.status;
  };
  return {
    vault,
    registry,
    edges,
    folder,
    auditFile,
    request: {
      subject: { image },
      key: 'release',
      ifAbsent: false,
      formats: ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'],
    },
    question: { subject: { image }, keys: [{ key: 'release' }] },
    admin,
    readyAgain: async () => {
      const giveUp = performance.now() + 5_000;
      while ((await admin('/readyz')) !== 200) {
        assert.ok(performance.now() < giveUp, 'it does not become ready again');
        await delay(50);
      }
    },
  };
};

describe('an audit log that cannot be written', { concurrency: true }, () => {
  test('a folder that was removed: nothing is signed; it recovers by itself', async (t) => {
    const { vault, edges, folder, auditFile, request, question, admin, readyAgain } = await start(t);
    assertSigned(await edges.grpc('/v1/sign', request), 'before');
    assert.equal(await admin('/readyz'), 200);
    const before = vault.count(signing);

    rmSync(folder, { recursive: true });
    for (let round = 0; round < 3; round++) {
      for (const outcome of await edges.both('/v1/sign', request))
        assertRefused(outcome, unavailable, `round ${round}`);
    }
    assert.equal(vault.count(signing), before, 'the key was not used');
    assert.deepEqual([await admin('/readyz'), await admin('/livez')], [503, 200]);
    for (const outcome of await edges.both('/v1/verify', question)) {
      assert.equal(outcome.signed === undefined, false, outcome.raw);
      assert.equal(JSON.parse(outcome.body).verified, true, 'Verify still works');
    }

    mkdirSync(folder);
    await readyAgain();
    const outcomes = await edges.both('/v1/sign', request);
    for (const outcome of outcomes) assertSigned(outcome, 'after');
    assert.equal(vault.count(signing) - before, 2, 'both formats of a request in one batch');
    await assertComplete(
      auditFile,
      outcomes.map(({ requestId }) => requestId),
    );
    assertSound(readTrail(auditFile));
  });

  test('a disk without room', { skip: process.platform !== 'linux' && '/dev/full is a device of Linux' }, async (t) => {
    const { vault, edges, request, question, admin } = await start(t, '/dev/full');
    for (const outcome of await edges.both('/v1/sign', request)) assertRefused(outcome, unavailable, 'no room');
    assert.equal(vault.count(signing), 0, 'the key was not used');
    assert.equal(await admin('/readyz'), 503);
    const verified = await edges.rest('/v1/verify', question);
    assert.equal(verified.status, 200, verified.raw);
  });

  test('lost after the intent, while the signature is being stored: the error names what is stored', async (t) => {
    const { registry, edges, folder, request } = await start(t);
    registry.hold();
    const asked = edges.rest('/v1/sign', { ...request, formats: ['FORMAT_BUNDLE'] });
    await registry.held();
    rmSync(folder, { recursive: true });
    registry.release();
    const outcome = await asked;
    assertRefused(outcome, unavailable, 'lost');
    assert.match(outcome.metadata['stored'] ?? '', /^127\.0\.0\.1:\d+\/acme\/app@sha256:[0-9a-f]{64}$/);
    assert.ok(outcome.message.includes(outcome.metadata['stored'] ?? '-'));
    assert.doesNotMatch(outcome.message, /nothing is signed/);
  });
});

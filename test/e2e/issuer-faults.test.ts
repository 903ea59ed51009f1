// An issuer of tokens that is down, or changes its keys, under a real service.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { githubClaims, type IssuerFault, startIssuer } from '../../src/dev/issuer.ts';
import { startServiceWorld } from '../service-world.ts';
import { assertRefused, assertSigned, type Expected, openEdges } from './both-edges.ts';

const audience = 'countersign.issuer.test';
const request = { subject: { blob: { name: 'a', content: 'aGVsbG8=' } }, key: 'release' };
const unavailable: Expected = { code: 'unavailable', reason: 'ISSUER_UNAVAILABLE', retry: { min: 1, max: 5_000 } };
const unknownKey: Expected = { code: 'unauthenticated', reason: 'KEY_UNKNOWN', retry: { min: 1, max: 5_000 } };

/** A service that trusts one issuer, which may be out of order from the start. */
const start = async (t: TestContext, fault: IssuerFault = 'none') => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-issuer-'));
  const issuer = await startIssuer({ audience });
  issuer.fault(fault);
  const policyFile = join(folder, 'policy.yaml');
  const rule = {
    name: 'blobs',
    caller: { issuer: issuer.issuer, claims: { repository_id: '456789' } },
    verbs: ['sign'],
    keys: ['release'],
    subjects: ['**'],
  };
  writeFileSync(policyFile, JSON.stringify({ rules: [rule] }));
  const world = await startServiceWorld({
    plainHttpHosts: [],
    keys: [{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    settings: {
      callers: { oidc: [{ issuer: issuer.issuer, audience, allowPlainText: true }] },
      policy: { files: [policyFile] },
    },
  });
  const edges = openEdges(world);
  t.after(async () => {
    edges.close();
    await world.stop();
    await issuer.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const mint = (keys: 'current' | 'retired' = 'current'): Promise<string> =>
    issuer.mint(githubClaims({ repository_id: '456789' }), { keys });
  const ready = async (): Promise<number> => {
    const response = await fetch(`http://${world.service.addresses.admin}/readyz`);
    await response.arrayBuffer();
    return response.status;
  };
  const keyFetches = (): number => issuer.requests.filter((line) => line === 'GET /jwks').length;
  return { issuer, edges, mint, ready, keyFetches };
};

describe('an issuer out of order', { concurrency: true }, () => {
  for (const fault of ['down', 'error', 'hang', 'huge'] as const) {
    test(`warm cache, ${fault}: requests go on`, async (t) => {
      const { issuer, edges, mint, ready } = await start(t);
      assertSigned(await edges.grpc('/v1/sign', request, { token: await mint() }), 'warm');
      issuer.fault(fault);
      for (let round = 0; round < 3; round++) {
        for (const outcome of await edges.both('/v1/sign', request, { token: await mint() })) {
          assertSigned(outcome, 'a new token of a known key');
          // A fetch of keys is given up after 5 s: nobody waited for it.
          assert.ok(outcome.ms < 4_000, `${outcome.ms}`);
        }
      }
      assert.equal(await ready(), 200);
    });
  }

  for (const fault of ['down', 'error', 'redirect'] as const) {
    test(`cold cache, ${fault}: UNAVAILABLE, not UNAUTHENTICATED, and not ready`, async (t) => {
      const { edges, mint, ready } = await start(t, fault);
      for (const outcome of await edges.both('/v1/sign', request, { token: await mint() })) {
        assertRefused(outcome, unavailable, fault);
      }
      assert.equal(await ready(), 503);
      const expired = await edges.grpc('/v1/sign', request, { token: 'not.a.token' });
      assert.equal(expired.status, 16, 'what is wrong whatever the issuer says is UNAUTHENTICATED');
    });
  }

  test('cold cache, down: it recovers without a restart', async (t) => {
    const { issuer, edges, mint, ready } = await start(t, 'down');
    const token = await mint();
    assertRefused(await edges.rest('/v1/sign', request, { token }), unavailable, 'down');
    issuer.fault('none');
    const giveUp = performance.now() + 12_000;
    while ((await ready()) !== 200) {
      assert.ok(performance.now() < giveUp, 'it does not become ready');
      await delay(50);
    }
    for (const outcome of await edges.both('/v1/sign', request, { token })) assertSigned(outcome, 'recovered');
  });

  test('warm cache, down, and a key that nobody knows: UNAVAILABLE, since the issuer may have rotated', async (t) => {
    const { issuer, edges, mint } = await start(t);
    assertSigned(await edges.grpc('/v1/sign', request, { token: await mint() }), 'warm');
    await issuer.rotate();
    issuer.fault('down');
    const token = await mint();
    assertRefused(await edges.rest('/v1/sign', request, { token }), unavailable, 'a new key');
    assertSigned(await edges.grpc('/v1/sign', request, { token: await mint('retired') }), 'a token of the known key');
  });

  test('rotation under load: at most two fetches, new tokens all accepted, old ones until the keys are known', async (t) => {
    const { issuer, edges, mint, keyFetches } = await start(t);
    const old = await Promise.all(Array.from({ length: 10 }, () => mint()));
    for (const token of old) assertSigned(await edges.grpc('/v1/sign', request, { token }), 'before');
    const before = keyFetches();
    const began = performance.now();
    await issuer.rotate();
    const fresh = await Promise.all(Array.from({ length: 40 }, () => mint()));
    const outcomes = await Promise.all(
      fresh.map((token, index) => edges[index % 2 === 0 ? 'grpc' : 'rest']('/v1/sign', request, { token })),
    );
    for (const outcome of outcomes) assertSigned(outcome, 'new key');
    for (const token of [...old, await mint('retired')]) {
      assertRefused(await edges.grpc('/v1/sign', request, { token }), unknownKey, 'withdrawn key');
    }
    // Keys that nobody knows are looked for every 5 s at most.
    const allowed = 2 + Math.floor((performance.now() - began) / 5_000);
    assert.ok(keyFetches() - before <= allowed, `${keyFetches() - before} fetches`);
  });
});

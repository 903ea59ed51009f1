// The fault table through Verify: what is there is found or the failure is told, and nothing counts that is not there.
// Alone in its process: it is as long as all the others, and looks at every connection that its process makes.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { type FaultCase, paths } from './fault-case.ts';
import { marginMs, patientMs, table } from './fault-cases.ts';
import { connectedHosts, type FaultWorld, type Judged, secrets, startFaultWorld } from './fault-world.ts';

describe('Verify, and a registry that fails or lies', { concurrency: 3 }, () => {
  for (const [group, cases] of Object.entries(table)) {
    describe(group, { concurrency: 4 }, () => {
      for (const one of cases) test(one.name, (t) => run(t, one));
    });
  }
});

after(() => {
  for (const host of connectedHosts) assert.equal(host, '127.0.0.1', 'the only address that is ever connected to');
});

const run = async (t: TestContext, one: FaultCase): Promise<void> => {
  const world = await startFaultWorld(t, one);
  const unsigned = await judged(world, one);
  assert.notEqual(unsigned.verdict?.verified, true, 'nobody has signed it');

  assert.equal((await world.sign({}, patientMs)).error, undefined);
  world.restart();
  const signed = await judged(world, one);
  if (signed.verdict !== undefined) assertWhole(signed, one);

  // What it was told meanwhile is not held on to.
  const again = await world.verify(patientMs);
  assert.equal(again.error, undefined, again.error?.message);
  assertWhole(again);
};

test('signatures of another image, served as those of this one, do not count', async (t) => {
  const world = await startFaultWorld(t);
  const { digest } = await pushImage(world.registry.host, 'acme/app', 'v2');
  const { error } = await world.sign({ subject: { kind: 'image', reference: `${world.host}/acme/app:v2` } }, patientMs);
  assert.equal(error, undefined);
  world.registry.script(
    {
      ...paths.signatureTag,
      fault: { kind: 'instead', url: () => `/v2/acme/app/manifests/${digest.replace(':', '-')}.sig` },
    },
    { ...paths.referrers, fault: { kind: 'instead', url: () => `/v2/acme/app/referrers/${digest}` } },
  );
  const { verdict } = await world.verify(patientMs);
  assert.equal(verdict?.digest, world.digest);
  assert.equal(verdict?.verified, false);
  assert.ok((verdict?.signatures.length ?? 0) > 0, 'they were looked at');
});

/** Verifies while the faults last. */
const judged = async (world: FaultWorld, one: FaultCase): Promise<Judged> => {
  world.registry.script(...one.rules(world));
  const deadlineMs = one.deadlineMs ?? patientMs;
  const outcome = await world.verify(deadlineMs);
  world.registry.script();
  assert.ok(outcome.ms < deadlineMs + marginMs, `took ${outcome.ms} ms`);
  assert.notEqual(outcome.error?.code, 'internal', outcome.error?.message);
  assert.equal(world.stranger.connections(), 0);
  assert.ok(world.other.authorizations.every((value) => value === undefined));
  const shown = JSON.stringify([outcome.error?.message, outcome.error?.metadata, outcome.verdict]);
  for (const secret of secrets) assert.ok(!shown.includes(secret), 'a secret was shown');
  return outcome;
};

/** Both signatures are found, and count. */
const assertWhole = ({ verdict }: Judged, one?: FaultCase): void => {
  const found = (['simple-signing', 'bundle'] as const).filter((format) => one?.hides?.includes(format) !== true);
  assert.deepEqual(
    verdict?.signatures.map(({ counts, format }) => [counts, format]),
    found.map((format) => [true, format]),
    verdict?.summary,
  );
  assert.equal(verdict?.verified, found.length > 0);
};

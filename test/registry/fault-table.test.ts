// Every way in which a registry can fail or lie, through the whole Sign use case.
// Alone in its process: it is as long as all the others, and looks at every connection that its process makes.
import assert from 'node:assert/strict';
import { after, describe, type TestContext, test } from 'node:test';
import type { SignCommand } from '../../src/model/command.ts';
import type { FaultCase } from './fault-case.ts';
import { marginMs, patientMs, table } from './fault-cases.ts';
import { connectedHosts, type FaultWorld, type Outcome, secrets, startFaultWorld } from './fault-world.ts';
import { fetchJson } from './world.ts';

describe('a registry that fails or lies', { concurrency: 3 }, () => {
  for (const [group, cases] of Object.entries(table)) {
    describe(group, { concurrency: 4 }, () => {
      for (const one of cases) test(one.name, (t) => run(t, one));
    });
  }
});

describe('two writers in two replicas, and a registry that looks at no condition: nothing is lost', {
  concurrency: true,
}, () => {
  for (const referrers of [true, false]) {
    for (const etag of [false, 'ignored'] as const) {
      const name = `${referrers ? 'referrers' : 'fallback tag'}, ${etag === false ? 'no ETag' : 'an ETag that means nothing'}`;
      test(name, async (t) => {
        const world = await startFaultWorld(t, { registry: { referrers, etag }, settleMs: 1_000 });
        const outcomes = await Promise.all(
          ([0, 1] as const).map((replica) =>
            world.sign({ annotations: { replica: String(replica) }, ifAbsent: false }, 60_000, replica),
          ),
        );
        for (const { error } of outcomes) assert.equal(error, undefined, error?.message);
        assert.equal(world.keyUses(), 4);
        const base = `http://${world.registry.host}/v2/acme/app`;
        const tag = world.digest.replace(':', '-');
        const layers: StoredBody = await fetchJson(`${base}/manifests/${tag}.sig`);
        assert.equal(layers.layers?.length, 2);
        const list = referrers ? `${base}/referrers/${world.digest}` : `${base}/manifests/${tag}`;
        const listed: { readonly manifests?: readonly object[] } = await fetchJson(list);
        assert.equal(listed.manifests?.length, 2);
      });
    }
  }
});

test('the table is complete', () => {
  const names = Object.values(table).flatMap((cases) => cases.map(({ name }) => name));
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length >= 45);
});

after(() => {
  for (const host of connectedHosts) assert.equal(host, '127.0.0.1', 'the only address that is ever connected to');
});

const run = async (t: TestContext, one: FaultCase): Promise<void> => {
  const world = await startFaultWorld(t, one);
  const command = one.command?.(world) ?? {};
  if (one.signedBefore === true) {
    const { error } = await world.sign(command, patientMs);
    assert.equal(error, undefined);
    world.restart();
  }
  const before = { uses: world.keyUses(), records: world.records.length };
  const earlier = new Set(world.registry.stored.map(({ digest }) => digest));
  world.registry.seen.length = 0;
  world.registry.script(...one.rules(world));
  const deadlineMs = one.deadlineMs ?? patientMs;
  const outcome = await world.sign(command, deadlineMs);
  world.registry.script();
  // Before the test itself asks the registry for anything.
  one.check?.(world, outcome);

  assert.ok(outcome.ms < deadlineMs + marginMs, `took ${outcome.ms} ms`);
  assertOutcome(one, world, outcome);
  const signed = one.expected === 'signed' ? 2 : 0;
  assert.equal(world.keyUses() - before.uses, one.keyUses ?? signed, 'how often the key signed');
  const there = await assertNoOrphan(one, world, outcome, earlier);
  assertAudited(world, outcome, before.records, (one.keyUses ?? signed) > 0);
  assertSecret(world, outcome);
  if (outcome.error !== undefined) await assertHeals(one, world, there);
  await assertForgets(world, command);
};

const assertOutcome = ({ expected }: FaultCase, world: FaultWorld, { result, error }: Outcome): void => {
  if (typeof expected === 'string') {
    assert.equal(error, undefined, `${error?.code} ${error?.reason}: ${error?.message}`);
    assert.equal(result?.digest, world.digest);
    assert.deepEqual(
      result?.outputs.map(({ sealed, existing }) => [sealed.format, existing]),
      ['simple-signing', 'bundle'].map((format) => [format, expected === 'existing']),
    );
    return;
  }
  assert.ok(error !== undefined, 'it must fail');
  assert.deepEqual([error.code, error.reason], [expected.code, expected.reason], error.message);
  const { retryMs } = expected;
  if (retryMs === undefined) assert.equal(error.retryAfterMs, undefined);
  else {
    const { retryAfterMs = -1 } = error;
    assert.ok(retryMs[0] <= retryAfterMs && retryAfterMs <= retryMs[1], `retry after ${retryAfterMs} ms`);
  }
};

type StoredBody = {
  readonly subject?: { readonly digest: string };
  readonly layers?: readonly { readonly mediaType: string; readonly digest: string }[];
};
const signatureTypes = /simplesigning|sigstore[.]bundle/;

/**
 * Every signature that the registry has of this request lies in a manifest that the answer, or the error, and the audit log
 * name. The media types of those that are there.
 */
const assertNoOrphan = async (
  { named = 0, expected }: FaultCase,
  world: FaultWorld,
  { result, error }: Outcome,
  earlier: ReadonlySet<string>,
): Promise<ReadonlySet<string>> => {
  const told =
    error === undefined
      ? (result?.outputs ?? []).map(({ stored }) => `${stored?.repository}@${stored?.digest}`)
      : (error.metadata['stored']?.split(',') ?? []);
  assert.equal(told.length, typeof expected === 'string' ? 2 : named, `named: ${told}`);
  const end = world.records.at(-1);
  const audited = JSON.stringify([end?.results, end?.error?.message]);
  for (const place of told) assert.ok(audited.includes(place), `audited: ${place}`);

  const digests = told.map((place) => place.replace(/^.*@/, ''));
  const inNamed = new Set<string>();
  const kinds = new Set<string>();
  const found: { readonly manifest: string; readonly blob: string }[] = [];
  for (const { digest, path } of world.registry.stored) {
    const body: StoredBody = await fetchJson(`http://${world.registry.host}${path}`);
    for (const layer of body.layers ?? []) {
      if (!signatureTypes.test(layer.mediaType)) continue;
      if (body.subject !== undefined) assert.equal(body.subject.digest, world.digest);
      kinds.add(layer.mediaType);
      if (digests.includes(digest)) inNamed.add(layer.digest);
      if (!earlier.has(digest)) found.push({ manifest: digest, blob: layer.digest });
    }
  }
  for (const { manifest, blob } of found) assert.ok(inNamed.has(blob), `${manifest} is an orphan`);
  if (error === undefined) assert.equal(inNamed.size, 2, 'both are really there');
  return kinds;
};

/** The caller tries again, at another replica: what is there already is found, and not signed a second time. */
const assertHeals = async (one: FaultCase, world: FaultWorld, there: ReadonlySet<string>): Promise<void> => {
  const uses = world.keyUses();
  const { result, error } = await world.sign({}, patientMs, 1);
  assert.equal(error, undefined, error?.message);
  // Without the referrers API what no tag lists cannot be found.
  const allListed = one.registry?.referrers !== false || one.signedBefore === true;
  const findable = [...there].filter((type) => allListed || !type.includes('bundle'));
  assert.equal(result?.outputs.filter(({ existing }) => existing).length, findable.length);
  assert.equal(world.keyUses() - uses, 2 - findable.length);
};

/** The replica that has seen the faults holds nothing against the registry, and believes nothing that it was told by them. */
const assertForgets = async (world: FaultWorld, command: Partial<SignCommand>): Promise<void> => {
  // What lies below the index was not signed yet.
  if (command.recursive !== undefined) assert.equal((await world.sign(command, patientMs)).result?.nested.length, 2);
  const uses = world.keyUses();
  const { result, error } = await world.sign(command, patientMs);
  assert.equal(error, undefined, error?.message);
  assert.equal(world.keyUses(), uses, 'signed twice');
  assert.ok(result?.outputs.every(({ existing }) => existing));
};

const assertAudited = (world: FaultWorld, { error }: Outcome, from: number, signed: boolean): void => {
  const records = world.records.slice(from);
  const [first, last] = [records[0], records.at(-1)];
  const end = error !== undefined ? 'failed' : signed ? 'completed' : 'existing';
  assert.deepEqual(
    records.map(({ event }) => event),
    signed ? ['intended', end] : [end],
  );
  if (signed) assert.equal(last?.intent, first?.id);
  assert.equal(last?.error?.reason, error?.reason);
};

/** Credentials go to the registry and nowhere else, and what nobody named is not even connected to. */
const assertSecret = (world: FaultWorld, { error }: Outcome): void => {
  assert.equal(world.stranger.connections(), 0);
  assert.ok(world.other.authorizations.every((value) => value === undefined));
  assert.ok(world.registry.seen.every(({ url }) => !url.includes('_catalog')));
  const shown = JSON.stringify([error?.message, error?.metadata, world.records]);
  for (const secret of secrets) assert.ok(!shown.includes(secret), 'a secret was shown');
};

// The fault table through SignBatch: a registry that fails or lies fails its own items, and nobody else's.
// Alone in its process: it is as long as all the others, and looks at every connection that its process makes.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { startRegistry } from '../../src/dev/registry.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { SignResult } from '../../src/model/result.ts';
import type { FaultCase } from './fault-case.ts';
import { marginMs, patientMs, table } from './fault-cases.ts';
import { type FaultWorld, secrets, startFaultWorld } from './fault-world.ts';
import { fetchJson } from './world.ts';

describe('SignBatch over a sound registry and one that fails or lies', { concurrency: 3 }, () => {
  for (const [group, cases] of Object.entries(table)) {
    describe(group, { concurrency: 4 }, () => {
      for (const one of cases) test(one.name, (t) => run(t, one));
    });
  }
});

const run = async (t: TestContext, one: FaultCase): Promise<void> => {
  const sound = await startRegistry();
  t.after(sound.close);
  const { digest } = await pushImage(sound.host, 'acme/app', 'v1');
  const world = await startFaultWorld(t, { ...one, besides: sound.host });
  const reference = { sound: `${sound.host}/acme/app:v1`, bad: `${world.host}/acme/app:v1` };
  const kinds = ['bad', 'sound', 'bad', 'sound', 'bad'] as const;
  const commands = kinds.map((kind, index) => ({
    ...(kind === 'bad' ? one.command?.(world) : {}),
    ...(kind === 'bad' && one.command !== undefined
      ? {}
      : { subject: { kind: 'image', reference: reference[kind] } as const }),
    annotations: { item: String(index) },
  }));

  world.registry.script(...one.rules(world));
  const deadlineMs = one.deadlineMs ?? patientMs;
  const started = performance.now();
  const outcomes = await world.signBatch(commands, deadlineMs);
  const ms = performance.now() - started;
  world.registry.script();
  assert.ok(ms < deadlineMs + marginMs, `took ${ms} ms`);

  assert.equal(outcomes.length, kinds.length);
  const told = new Set<string>();
  for (const { index, outcome } of outcomes) {
    if (kinds[index] === 'sound') assertSigned(outcome, digest);
    else if (outcome instanceof CountersignError) assertTyped(outcome, told);
    else {
      assertSigned(outcome, world.digest);
      for (const { stored } of [outcome, ...outcome.nested].flatMap(({ outputs }) => outputs)) {
        told.add(`${stored?.repository}@${stored?.digest}`);
      }
    }
  }
  await assertNothingTwice(world, told);

  for (const { index, outcome } of await world.signBatch(commands, patientMs)) {
    assert.ok(!(outcome instanceof CountersignError), 'the same batch, sent again, is signed');
    if (outcomes[index]?.outcome instanceof CountersignError) continue;
    assert.ok(
      outcome.outputs.every(({ existing }) => existing),
      'what was signed is found',
    );
  }
};

const assertSigned = (outcome: SignResult | CountersignError, digest: string): void => {
  assert.ok(!(outcome instanceof CountersignError), String(outcome));
  assert.equal(outcome.digest, digest);
  assert.deepEqual(
    outcome.outputs.map(({ sealed }) => sealed.format),
    ['simple-signing', 'bundle'],
  );
};

const assertTyped = (error: CountersignError, told: Set<string>): void => {
  assert.notEqual(error.code, 'internal', error.message);
  for (const place of error.metadata['stored']?.split(',') ?? []) told.add(place);
  const shown = JSON.stringify([error.message, error.metadata]);
  for (const secret of secrets) assert.ok(!shown.includes(secret), 'a secret was shown');
};

type StoredBody = {
  readonly layers?: readonly {
    readonly mediaType: string;
    readonly digest: string;
    readonly annotations?: Readonly<Record<string, string>>;
  }[];
};
type Bundle = { readonly dsseEnvelope?: { readonly payload: string } };

/**
 * Every signature that lies in the registry is in a manifest that an outcome names, and nothing (the items differ in their
 * annotations) was signed twice.
 */
const assertNothingTwice = async (world: FaultWorld, told: ReadonlySet<string>): Promise<void> => {
  const named = new Set<string>();
  /** Signatures with what they sign. */
  const signed = new Map<string, string>();
  for (const { repository, digest, path } of world.registry.stored) {
    const base = `http://${world.registry.host}`;
    const body: StoredBody = await fetchJson(`${base}${path}`);
    for (const { mediaType, digest: blob, annotations } of body.layers ?? []) {
      if (!/simplesigning|sigstore[.]bundle/.test(mediaType)) continue;
      const isBundle = mediaType.includes('bundle');
      const signature = isBundle ? blob : `${annotations?.['dev.cosignproject.cosign/signature']}`;
      if (told.has(`${world.host}/${repository}@${digest}`)) named.add(signature);
      if (signed.has(signature)) continue;
      const read = async (): Promise<Bundle> => fetchJson(`${base}/v2/${repository}/blobs/${blob}`);
      signed.set(signature, isBundle ? `${(await read()).dsseEnvelope?.payload}` : blob);
    }
  }
  for (const [signature, content] of signed) assert.ok(named.has(signature), `${content} is an orphan`);
  assert.equal(new Set(signed.values()).size, signed.size, 'signed twice');
};

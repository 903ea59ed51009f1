// A registry that fails in every way it can, at every step of a Sign, behind a real service.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import { type Fault, type FaultRegistry, type Rule, startFaultRegistry } from '../registry/fault-registry.ts';
import { type ServiceWorld, startServiceWorld } from '../service-world.ts';
import { assertComplete, assertSound, readTrail } from './audit-trail.ts';
import { assertRefused, assertSigned, type Edges, type Expected, openEdges, refusal } from './both-edges.ts';

/** What a request gets whose end is not its deadline: enough for a busy machine. */
const patientMs = 15_000;
/** What one gets that ends by it. */
const deadlineMs = 8_000;
/** What may pass between the deadline and the answer, on a busy machine. */
const marginMs = 8_000;

type Case = {
  readonly name: string;
  readonly fault: Fault;
  readonly expected: Expected;
  /** It cannot be told whether what the step writes was stored, so the error names it as well. Is it there? */
  readonly open?: 'there' | 'not there';
};

const answer = (status: number, headers: Readonly<Record<string, string>> = {}, body?: string): Fault => ({
  kind: 'answer',
  status,
  headers,
  ...(body === undefined ? {} : { body }),
});
const throttled = (min: number, max = min): Expected =>
  refusal('resource_exhausted', 'REGISTRY_THROTTLED', { min, max });
const down = refusal('unavailable', 'REGISTRY_UNAVAILABLE', { min: 1, max: 1_000 });
const denied = refusal('failed_precondition', 'REGISTRY_ACCESS_DENIED');
const mismatch = refusal('data_loss', 'DIGEST_MISMATCH');
const otherDigest = `sha256:${'ab'.repeat(32)}`;

/** Whatever the step. */
const anywhere: readonly Case[] = [
  { name: '401 without a challenge', fault: answer(401), expected: denied },
  { name: '401, and no credentials', fault: answer(401, { 'www-authenticate': 'Basic realm="x"' }), expected: denied },
  {
    name: '401 with a challenge that is none',
    fault: answer(401, { 'www-authenticate': 'Negotiate' }),
    expected: refusal('failed_precondition', 'AUTH_CHALLENGE_INVALID'),
  },
  { name: '403', fault: answer(403, {}, '{"errors":[{"code":"DENIED"}]}'), expected: denied },
  { name: '429 for half a minute', fault: answer(429, { 'retry-after': '30' }), expected: throttled(30_000) },
  {
    name: '429 until a date',
    fault: {
      kind: 'answer',
      status: 429,
      headers: () => ({ 'retry-after': new Date(Date.now() + 60_000).toUTCString() }),
    },
    expected: throttled(40_000, 60_000),
  },
  { name: '429 for a day', fault: answer(429, { 'retry-after': '86400' }), expected: throttled(86_400_000) },
  { name: '500', fault: answer(500), expected: down },
  { name: '503', fault: answer(503), expected: down },
  {
    name: 'reset',
    fault: { kind: 'reset' },
    expected: refusal('unavailable', 'CONNECTION_RESET', { min: 1, max: 1_000 }),
  },
  { name: 'hang', fault: { kind: 'hang' }, expected: refusal('deadline_exceeded', 'DEADLINE_EXCEEDED') },
];
const wrongDigest = (expected: Expected): Case => ({
  name: 'a wrong digest returned',
  fault: { kind: 'headers', headers: { 'docker-content-digest': otherDigest } },
  expected,
});

type Step = {
  readonly name: string;
  readonly rule: Omit<Rule, 'fault'>;
  readonly registry?: DevRegistryOptions;
  /** The first of two formats is stored by then. */
  readonly firstStored: boolean;
  /** And this of the second, as the error must tell. */
  readonly secondStored: boolean;
  readonly cases: readonly Case[];
};

const steps: readonly Step[] = [
  {
    name: 'resolve',
    rule: { method: 'HEAD', path: /\/manifests\/v1$/ },
    firstStored: false,
    secondStored: false,
    cases: [
      ...anywhere,
      { name: '404', fault: answer(404), expected: refusal('not_found', 'IMAGE_NOT_FOUND') },
      {
        name: 'a body that is too large',
        // Without a digest in the headers of HEAD the manifest itself is read.
        fault: { kind: 'headers', headers: { 'docker-content-digest': undefined } },
        expected: refusal('unavailable', 'RESPONSE_TOO_LARGE'),
      },
    ],
  },
  {
    name: 'blob push',
    // The first format pushes two blobs, its payload and its config.
    rule: { method: 'POST', path: /\/blobs\/uploads\//, skip: 2 },
    firstStored: true,
    secondStored: false,
    cases: [
      ...anywhere,
      { name: '404', fault: answer(404), expected: refusal('not_found', 'REGISTRY_NOT_FOUND') },
      wrongDigest(mismatch),
    ],
  },
  {
    name: 'manifest push',
    rule: { method: 'PUT', path: /\/manifests\/sha256:/ },
    firstStored: true,
    secondStored: false,
    cases: [
      ...anywhere.map((one): Case => (one.name === 'hang' ? { ...one, open: 'not there' } : one)),
      { name: '404', fault: answer(404), expected: refusal('not_found', 'REGISTRY_NOT_FOUND') },
      { ...wrongDigest(mismatch), open: 'there' },
    ],
  },
  {
    name: 'fallback tag',
    rule: { method: 'PUT', path: /\/manifests\/sha256-[0-9a-f]{64}$/ },
    registry: { referrers: false },
    firstStored: true,
    secondStored: true,
    cases: [
      ...anywhere,
      { name: '404', fault: answer(404), expected: refusal('not_found', 'REGISTRY_NOT_FOUND') },
      wrongDigest(mismatch),
    ],
  },
];

const signBoth = (host: string, tag = 'v1') => ({
  subject: { image: `${host}/acme/app:${tag}` },
  key: 'release',
  formats: ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'],
  ifAbsent: false,
});
const storedPattern = (host: string, count: number): RegExp =>
  new RegExp(`^${Array(count).fill(`${host}/acme/app@sha256:[0-9a-f]{64}`).join(',')}$`);

describe('a registry fails: typed in both worlds, in time, audited, and what was stored is named', {
  concurrency: 2,
}, () => {
  let patient: { readonly world: ServiceWorld; readonly edges: Edges };
  let hasty: typeof patient;
  const guarded: FaultRegistry[] = [];
  const guards: readonly DevRegistryOptions[] = [
    { auth: { kind: 'basic', username: 'us', password: 'the right one' } },
    { auth: { kind: 'bearer', username: 'us', password: 'the right one' } },
  ];

  before(async () => {
    guarded.push(...(await Promise.all(guards.map((guard) => startFaultRegistry(guard)))));
    const wrong = { username: 'us', password: 'the wrong one' };
    const start = async (maxRequestMs: number): Promise<typeof patient> => {
      const world = await startServiceWorld({
        plainHttpHosts: ['127.0.0.1'],
        keys: [{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }],
        settings: {
          registry: {
            plainHttpHosts: ['127.0.0.1'],
            tries: 2,
            settleMs: 100,
            credentials: Object.fromEntries(guarded.map(({ host }) => [host, wrong])),
          },
          limits: { maxRequestMs },
        },
      });
      return { world, edges: openEdges(world) };
    };
    patient = await start(patientMs);
    hasty = await start(deadlineMs);
  });
  after(async () => {
    for (const { world, edges } of [patient, hasty]) {
      edges.close();
      const records = readTrail(world.auditFile);
      await world.stop();
      assertSound(records);
    }
    await Promise.all(guarded.map((registry) => registry.close()));
  });

  for (const step of steps) {
    describe(step.name, { concurrency: true }, () => {
      for (const { name, fault, expected, open } of step.cases) {
        test(name, async (t) => {
          const { world, edges } = expected.code === 'deadline_exceeded' ? hasty : patient;
          // One registry an edge, so that neither finds what the other stored.
          const tryOn = async (edge: 'grpc' | 'rest'): Promise<void> => {
            const registry = await startFaultRegistry(step.registry);
            t.after(() => registry.close());
            const { host } = registry;
            await pushImage(host, 'acme/app', 'v1');
            const rule: Rule = { ...step.rule, fault };
            registry.script(rule, ...(name.includes('too large') ? [tooLarge] : []));

            const outcome = await edges[edge]('/v1/sign', signBoth(host));
            assertRefused(outcome, expected, `${step.name}, ${name}`);
            if (expected.code !== 'deadline_exceeded') assert.ok(outcome.message.includes(host), outcome.message);
            else assert.ok(outcome.ms < deadlineMs + marginMs, `${outcome.edge} took ${outcome.ms} ms`);
            const count = Number(step.firstStored) + Number(step.secondStored || open !== undefined);
            const { stored } = outcome.metadata;
            if (count === 0) assert.equal(stored, undefined);
            else {
              assert.match(stored ?? '', storedPattern(host, count));
              for (const [index, one] of (stored?.split(',') ?? []).entries()) {
                assert.ok(outcome.message.includes(one), `${outcome.message}: names ${one}`);
                const answered = await fetch(`http://${one.replace('/acme/app@', '/v2/acme/app/manifests/')}`);
                await answered.arrayBuffer();
                assert.equal(answered.status, index === 1 && open === 'not there' ? 404 : 200, 'is it really there?');
              }
            }
            const records = await assertComplete(world.auditFile, [outcome.requestId]);
            const end = records.at(-1);
            assert.deepEqual([end?.event, end?.error?.reason], ['failed', expected.reason]);
            assert.equal(end?.intent !== undefined, step.name !== 'resolve', 'no intent before the digest is known');
            assert.deepEqual(
              end?.results.map(({ format, stored: place }) => [format, place]),
              step.firstStored ? [['simple-signing', stored?.split(',')[0]]] : [],
            );

            registry.script();
            assertSigned(await edges[edge]('/v1/sign', signBoth(host)), `${name}, healed`);
          };
          await Promise.all([tryOn('grpc'), tryOn('rest')]);
        });
      }
    });
  }

  test('wrong credentials, basic and bearer', async () => {
    const { world, edges } = patient;
    for (const registry of guarded) {
      const outcomes = await edges.both('/v1/sign', signBoth(registry.host));
      for (const outcome of outcomes) {
        assertRefused(outcome, denied, 'wrong credentials');
        assert.doesNotMatch(outcome.raw, /the wrong one/);
      }
      await assertComplete(
        world.auditFile,
        outcomes.map(({ requestId }) => requestId),
      );
    }
  });

  test('a repository that is not there', async (t) => {
    const registry = await startFaultRegistry();
    t.after(() => registry.close());
    const outcomes = await patient.edges.both('/v1/sign', signBoth(registry.host));
    for (const outcome of outcomes) assertRefused(outcome, refusal('not_found', 'IMAGE_NOT_FOUND'), 'no repository');
  });

  test('an image asked for by digest, and another one given', async (t) => {
    const registry = await startFaultRegistry();
    t.after(() => registry.close());
    const { digest } = await pushImage(registry.host, 'acme/app', 'v1');
    registry.script({
      path: /\/manifests\//,
      fault: { kind: 'headers', headers: { 'docker-content-digest': otherDigest } },
    });
    const request = { ...signBoth(registry.host), subject: { image: `${registry.host}/acme/app@${digest}` } };
    for (const outcome of await patient.edges.both('/v1/sign', request)) assertRefused(outcome, mismatch, 'by digest');
    assert.ok(
      !registry.requests.some(({ method, kind }) => method !== 'GET' && method !== 'HEAD' && kind === 'referrers'),
    );
  });

  test('trouble that passes within the deadline is not seen by the caller', { concurrency: true }, async (t) => {
    const passing: readonly Fault[] = [answer(429, { 'retry-after': '1' }), answer(503), { kind: 'reset' }];
    await Promise.all(
      passing.map(async (fault) => {
        const registry = await startFaultRegistry();
        t.after(() => registry.close());
        await pushImage(registry.host, 'acme/app', 'v1');
        registry.script({ method: 'HEAD', path: /./, times: 1, fault });
        const outcome = await patient.edges.grpc('/v1/sign', signBoth(registry.host));
        assert.equal(assertSigned(outcome, fault.kind).outputs.length, 2);
      }),
    );
  });
});

/** More than any manifest may have. */
const tooLarge: Rule = { method: 'GET', path: /\/manifests\/v1$/, fault: { kind: 'flood', bytes: 5 * 1024 * 1024 } };

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { openContext } from '../../src/model/context.ts';
import type { CountersignError } from '../../src/model/error.ts';
import type { ResolvedImage } from '../../src/model/subject.ts';
import type { Registry } from '../../src/registry/port.ts';
import { type Fault, type Rule, startFaultRegistry } from './fault-registry.ts';
import { bundle, clientFor, isError, layer, resolve, tagOf, within } from './world.ts';

type Case = { readonly name: string; readonly fault: Fault; readonly code: string; readonly reason?: string };

const everywhere: readonly Case[] = [
  {
    name: '401 without challenge',
    fault: { kind: 'answer', status: 401 },
    code: 'failed_precondition',
    reason: 'REGISTRY_ACCESS_DENIED',
  },
  {
    name: '403',
    fault: { kind: 'answer', status: 403 },
    code: 'failed_precondition',
    reason: 'REGISTRY_ACCESS_DENIED',
  },
  { name: '429', fault: { kind: 'answer', status: 429 }, code: 'resource_exhausted', reason: 'REGISTRY_THROTTLED' },
  {
    name: '429 for a day',
    fault: { kind: 'answer', status: 429, headers: { 'retry-after': '86400' } },
    code: 'resource_exhausted',
    reason: 'REGISTRY_THROTTLED',
  },
  {
    name: '429 with a negative delay',
    fault: { kind: 'answer', status: 429, headers: { 'retry-after': '-1' } },
    code: 'resource_exhausted',
    reason: 'REGISTRY_THROTTLED',
  },
  { name: '500', fault: { kind: 'answer', status: 500 }, code: 'unavailable', reason: 'REGISTRY_UNAVAILABLE' },
  { name: '503', fault: { kind: 'answer', status: 503 }, code: 'unavailable', reason: 'REGISTRY_UNAVAILABLE' },
  { name: 'reset', fault: { kind: 'reset' }, code: 'unavailable', reason: 'CONNECTION_RESET' },
  { name: 'hang', fault: { kind: 'hang' }, code: 'deadline_exceeded' },
  { name: 'stall in the body', fault: { kind: 'stall' }, code: 'deadline_exceeded' },
];

const deadlineMs = 2_000;

describe('a registry that fails for good: typed, and within the deadline', { concurrency: true }, () => {
  type Operation = (run: Registry, image: ResolvedImage) => Promise<unknown>;
  const operations: Readonly<Record<string, Operation>> = {
    resolve: (run, { registry }) => resolve(run, `${registry}/acme/app:v1`, within(deadlineMs)),
    attachments: (run, image) => run.attachments(image, undefined, within(deadlineMs)),
    'attach a layer': (run, image) => run.attach(image, layer('s1'), undefined, within(deadlineMs)),
    'attach a bundle': (run, image) => run.attach(image, bundle('b1'), undefined, within(deadlineMs)),
  };

  for (const one of everywhere) {
    for (const [name, operation] of Object.entries(operations)) {
      // HEAD has no body to stall in.
      if (one.name.startsWith('stall') && name === 'resolve') continue;
      test(`${one.name}: ${name}`, async (t) => {
        const server = await startFaultRegistry();
        const registry = clientFor(server.host, undefined, 2);
        t.after(() => Promise.all([registry.close(), server.close()]));
        await pushImage(server.host, 'acme/app', 'v1');
        const image = await resolve(registry, `${server.host}/acme/app:v1`);
        server.script({ path: /^\/v2\/acme/, fault: one.fault });
        const started = performance.now();
        await assert.rejects(operation(registry, image), (error: CountersignError) => {
          assert(error.message.includes(server.host) || error.code === 'deadline_exceeded', error.message);
          return isError(one.code, one.reason)(error);
        });
        const took = performance.now() - started;
        assert(took < deadlineMs + 1_000, `took ${took} ms`);
        // A delay that cannot be met is not waited for.
        if (one.name === '429 for a day') assert(took < 1_500, `took ${took} ms`);
      });
    }
  }
});

describe('a registry that fails for a while: the request succeeds', { concurrency: true }, () => {
  const passing: readonly [string, Rule][] = [
    [
      '429 with Retry-After',
      { path: /./, times: 1, fault: { kind: 'answer', status: 429, headers: { 'retry-after': '1' } } },
    ],
    ['502', { path: /./, times: 1, fault: { kind: 'answer', status: 502 } }],
    ['reset', { path: /./, times: 1, fault: { kind: 'reset' } }],
    [
      'a manifest that is stored and then answered with a reset',
      { method: 'PUT', path: /manifests/, times: 1, fault: { kind: 'reset-after' } },
    ],
    [
      'a blob that is stored and then answered with a reset',
      { path: /uploads/, times: 1, fault: { kind: 'reset-after' } },
    ],
    [
      'a tag that cannot be read back yet',
      { method: 'GET', path: /manifests\/sha256-/, skip: 1, times: 2, fault: { kind: 'answer', status: 404 } },
    ],
    ['a lost upload session', { method: 'PUT', path: /uploads/, times: 1, fault: { kind: 'answer', status: 404 } }],
  ];
  for (const [name, rule] of passing) {
    test(name, async (t) => {
      const server = await startFaultRegistry({ wholeUpload: !name.includes('session') });
      const registry = clientFor(server.host);
      t.after(() => Promise.all([registry.close(), server.close()]));
      await pushImage(server.host, 'acme/app', 'v1');
      const image = await resolve(registry, `${server.host}/acme/app:v1`);
      server.script(rule);
      await registry.attach(image, layer('s1'), undefined, within(10_000));
      server.script();
      assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 1);
    });
  }
});

test('a bundle that is stored but cannot be listed: the error names what was stored', async (t) => {
  const server = await startFaultRegistry({ referrers: false });
  const registry = clientFor(server.host, undefined, 1);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const tag = tagOf(image.descriptor.digest);
  server.script({ method: 'PUT', path: new RegExp(`manifests/${tag}`), fault: { kind: 'answer', status: 403 } });
  await assert.rejects(registry.attach(image, bundle('b1'), undefined, within(5_000)), (error: CountersignError) => {
    const { stored } = error.metadata;
    assert.match(stored ?? '', new RegExp(`^${server.host}/acme/app@sha256:[0-9a-f]{64}$`));
    assert(error.message.includes(stored ?? '-'));
    return isError('failed_precondition', 'REGISTRY_ACCESS_DENIED')(error);
  });
});

test('a caller who has gone already is told so, and nothing is left unhandled', async (t) => {
  const server = await startFaultRegistry();
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  const image = await resolve(registry, `${server.host}/acme/app:v1`);
  const owned = openContext('test', 5_000);
  owned.cancel();
  for (const sealed of [layer('s1'), bundle('b1')]) {
    await assert.rejects(registry.attach(image, sealed, undefined, owned.context), isError('cancelled'));
  }
  assert.equal((await registry.attachments(image, undefined, within(5_000))).length, 0);
});

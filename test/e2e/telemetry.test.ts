// One Sign as traces and metrics show it, from the caller's trace to the registry's.
import assert from 'node:assert/strict';
import { type IncomingMessage, createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { registryListener } from '../../src/dev/registry.ts';
import { startFakeVault } from '../keys/fake-vault.ts';
import { approle, signing } from '../keys/vault-world.ts';
import { startServiceWorld } from '../service-world.ts';
import { type ReceivedSpan, startCollector } from '../telemetry/collector.ts';
import { assertSigned, openEdges } from './both-edges.ts';

type SeenRequest = { readonly line: string; readonly traceparent: string | undefined };

/** The embedded registry, which notes the trace that each request belongs to. */
const startTracedRegistry = async () => {
  const { listener } = registryListener({});
  const seen: SeenRequest[] = [];
  let broken = false;
  const server = createServer((request: IncomingMessage, response) => {
    const { traceparent } = request.headers;
    seen.push({
      line: `${request.method} ${request.url}`,
      traceparent: typeof traceparent === 'string' ? traceparent : undefined,
    });
    if (broken) response.writeHead(503).end();
    else listener(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    break: () => {
      broken = true;
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
};

const start = async (telemetry: object) => {
  const [vault, registry] = await Promise.all([startFakeVault(), startTracedRegistry()]);
  vault.createKey('release');
  const { digest } = await pushImage(registry.host, 'acme/app', 'v1');
  const world = await startServiceWorld({
    plainHttpHosts: [registry.host],
    keys: [{ name: 'release', kind: 'vault', address: vault.address, key: 'release', login: approle }],
    settings: { telemetry, registry: { plainHttpHosts: [registry.host], tries: 1 } },
  });
  const edges = openEdges(world);
  const close = async (): Promise<void> => {
    edges.close();
    await world.stop();
    await Promise.all([vault.close(), registry.close()]);
  };
  const request = {
    subject: { image: `${registry.host}/acme/app:v1` },
    key: 'release',
    formats: ['FORMAT_BUNDLE'],
    ifAbsent: false,
  };
  return { vault, registry, world, edges, close, request, digest };
};

const traceOf = (index: number): string => `4bf92f3577b34da6a3ce929d0e0e473${index}`;
const callersSpan = '00f067aa0ba902b7';

test('one Sign is one trace, a span a step, below the caller and above the registry and Vault', async (t) => {
  const collector = await startCollector();
  t.after(() => collector.close());
  const { vault, registry, edges, close, request } = await start({ traces: { endpoint: collector.endpoint } });
  const vaultSaw: (string | undefined)[] = [];
  vault.fail(signing, (_, response) => {
    const { traceparent } = response.req.headers;
    vaultSaw.push(typeof traceparent === 'string' ? traceparent : undefined);
    return undefined;
  });
  assertSigned(await edges.rest('/v1/sign', request), 'warm');
  registry.seen.length = 0;
  vaultSaw.length = 0;

  const header = (index: number) => ({ headers: { traceparent: `00-${traceOf(index)}-${callersSpan}-01` } });
  assertSigned(await edges.grpc('/v1/sign', request, header(0)), 'gRPC');
  const seen = registry.seen.splice(0);
  assertSigned(await edges.rest('/v1/sign', request, header(1)), 'REST');
  await close();

  for (const index of [0, 1]) {
    const spans = collector.spans.filter(({ traceId }) => traceId === traceOf(index));
    const named = (name: string): readonly ReceivedSpan[] => spans.filter((span) => span.name === name);
    const [root] = named('Sign');
    assert.ok(root !== undefined);
    assert.equal(root.parentSpanId, callersSpan);
    assert.equal(root.kind, 2, 'SPAN_KIND_SERVER');
    assert.deepEqual(
      spans
        .filter((span) => span !== root)
        .map(({ name, parentSpanId }) => [name, parentSpanId])
        .toSorted(),
      [
        ['audit.write', root.spanId],
        ['audit.write', root.spanId],
        ['key.open', root.spanId],
        ['key.sign', root.spanId],
        ['policy.decide', root.spanId],
        ['registry.attach', root.spanId],
        ['registry.look', root.spanId],
        ['registry.resolve', root.spanId],
      ],
    );
    const attributes = (name: string) =>
      Object.fromEntries((named(name)[0]?.attributes ?? []).map(({ key, value }) => [key, Object.values(value)[0]]));
    assert.deepEqual(attributes('policy.decide'), {
      'countersign.verb': 'sign',
      'countersign.rule': 'everything',
      'countersign.allowed': true,
    });
    for (const name of ['key.open', 'key.sign']) {
      assert.equal(named(name)[0]?.kind, 3, `${name}: SPAN_KIND_CLIENT`);
      assert.deepEqual(attributes(name), { 'countersign.key': 'release', 'countersign.key.backend': 'vault' });
    }
    const [address, port] = registry.host.split(':');
    for (const name of ['registry.resolve', 'registry.attach']) {
      assert.equal(named(name)[0]?.kind, 3, `${name}: SPAN_KIND_CLIENT`);
      assert.deepEqual(attributes(name), { 'server.address': address, 'server.port': Number(port) });
    }
    assert.equal(named('audit.write')[0]?.kind, 1, 'SPAN_KIND_INTERNAL');
  }

  const spanOf = (name: string): string | undefined =>
    collector.spans.find((span) => span.traceId === traceOf(0) && span.name === name)?.spanId;
  const parent = (name: string): string => `00-${traceOf(0)}-${spanOf(name)}-01`;
  assert.ok(seen.length >= 3, `${seen.length} requests`);
  for (const { line, traceparent } of seen) {
    assert.equal(traceparent, parent(line.startsWith('HEAD ') ? 'registry.resolve' : 'registry.attach'), line);
  }
  assert.equal(vaultSaw[0], parent('key.sign'), 'Vault sees the trace too');
});

test('without tracing nothing is sent on', async (t) => {
  const { registry, edges, close, request } = await start({});
  t.after(close);
  registry.seen.length = 0;
  const headers = { traceparent: `00-${traceOf(2)}-${callersSpan}-01` };
  assertSigned(await edges.grpc('/v1/sign', request, { headers }), 'untraced');
  assert.deepEqual(new Set(registry.seen.map(({ traceparent }) => traceparent)), new Set([undefined]));
});

test('after a mixed run the metrics page has every figure, and no label that a caller chose', async (t) => {
  const { vault, registry, world, edges, close, request, digest } = await start({ metrics: true });
  t.after(close);
  const token = await world.token();
  const blob = { subject: { blob: { name: 'a-name-of-a-blob', content: 'aGVsbG8=' } }, key: 'release' };

  for (const outcome of await edges.both('/v1/sign', request, { token })) assertSigned(outcome, 'sign');
  await edges.both('/v1/verify', { subject: request.subject, keys: [{ key: 'release' }] }, { token });
  await edges.both('/v1/sign', { ...request, key: 'a-key-that-is-not' }, { token });
  await edges.both('/v1/sign', blob, { token: await world.token({ repository_id: '999999' }) });
  await edges.both('/v1/sign', blob, { token: 'no.such.token' });
  await edges.rest('/v1/sign', { key: '' }, { token });
  vault.fail(signing, { status: 503, body: { errors: ['Vault is sealed'] } });
  await edges.both('/v1/sign', blob, { token });
  vault.heal();
  registry.break();
  await edges.both('/v1/sign', request, { token });
  await (await fetch(`http://${world.service.addresses.rest}/no/such/path/${digest}`)).arrayBuffer();

  const page = await (await fetch(`http://${world.service.addresses.admin}/metrics`)).text();
  const value = (name: string, labels: Record<string, string>): number => {
    const wanted = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
    const line = page
      .split('\n')
      .find((each) => each.startsWith(`${name}{`) && wanted.every((label) => each.includes(label)));
    return Number(line?.split(' ').at(-1) ?? Number.NaN);
  };
  for (const transport of ['grpc', 'rest']) {
    const requests = (method: string, code: string): number =>
      value('countersign_request_duration_seconds_count', { transport, method, code });
    assert.equal(requests('Sign', 'ok'), 1, page);
    assert.equal(requests('Verify', 'ok'), 1);
    assert.equal(requests('Sign', 'permission_denied'), 2);
    assert.equal(requests('Sign', 'unauthenticated'), 1);
    assert.equal(requests('Sign', 'unavailable'), 2, 'a sealed Vault, a broken registry');
  }
  const rest = { transport: 'rest' };
  const counts = (method: string, code: string): number =>
    value('countersign_request_duration_seconds_count', { ...rest, method, code });
  assert.equal(counts('Sign', 'invalid_argument'), 1);
  assert.equal(counts('unknown', 'not_found'), 1);
  for (const leg of ['queue', 'policy', 'key', 'registry']) {
    assert.ok(value('countersign_leg_duration_seconds_count', { leg }) > 0, leg);
    assert.ok(value('countersign_leg_duration_seconds_sum', { leg }) >= 0, leg);
  }
  const decisions = 'countersign_policy_decisions_total';
  assert.equal(value(decisions, { rule: 'everything', decision: 'allow' }), 6);
  assert.equal(value(decisions, { rule: 'verify-anything', decision: 'allow' }), 2);
  assert.equal(value(decisions, { rule: '', decision: 'deny' }), 4);
  assert.equal(value('countersign_key_errors_total', { key: 'release', reason: 'KEY_SEALED' }), 2);
  assert.equal(value('countersign_registry_errors_total', { reason: 'REGISTRY_UNAVAILABLE' }), 2);

  const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
  const chosen = ['acme', digest, digest.slice(7, 19), 'a-name-of-a-blob', 'a-key-that-is-not', 'no.such.token'];
  for (const text of [
    ...chosen,
    registry.host,
    token,
    token.split('.')[2] ?? '-',
    claims.sub,
    claims.iss,
    claims.jti,
  ]) {
    assert.ok(text.length > 3 && !page.includes(text), `${text} is in the page`);
  }
  const labels = new Set([...page.matchAll(/[{,](\w+)="/g)].map(([, label]) => label));
  const known = ['transport', 'method', 'code', 'le', 'leg', 'rule', 'decision', 'key', 'reason', 'version', 'node'];
  assert.deepEqual(
    [...labels].filter((label) => !known.includes(label ?? '')),
    [],
  );
});

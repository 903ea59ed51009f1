import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startAdmin } from '../../src/api/admin.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { telemetrySettings } from '../../src/telemetry/settings.ts';
import { withSpan } from '../../src/telemetry/spans.ts';
import { startTelemetry } from '../../src/telemetry/start.ts';
import { startCollector } from '../telemetry/collector.ts';
import { authorized, callGrpc, callRest, grpcClient, restLines } from './clients.ts';
import { signResult, startWorld } from './world.ts';

const request = {
  subject: { kind: { case: 'image' as const, value: 'registry.example/acme/app:v1' } },
  key: 'release',
};
const restBody = { subject: { image: 'registry.example/acme/app:v1' }, key: 'release' };

test('both edges continue the trace of the caller; every request is counted by method and code', async (t) => {
  const collector = await startCollector();
  const settings = telemetrySettings.parse({ metrics: true, traces: { endpoint: collector.endpoint } });
  const telemetry = await startTelemetry(settings, { version: '1.2.3' });
  const admin = await startAdmin({
    address: { host: '127.0.0.1', port: 0 },
    ready: () => [],
    metrics: telemetry.metricsHandler,
    version: {},
  });
  const world = await startWorld({ sign: () => withSpan('key', {}, async () => signResult()) });
  const client = grpcClient(world.grpc.port);
  t.after(async () => {
    client.close();
    await Promise.all([world.close(), admin.close(), collector.close()]);
  });

  const parents = {
    grpc: `00-${'a'.repeat(32)}-${'1'.repeat(16)}-01`,
    rest: `00-${'b'.repeat(32)}-${'2'.repeat(16)}-01`,
  };
  await callGrpc(client, SigningService.method.sign, request, authorized({ traceparent: parents.grpc }));
  await callRest(world.rest.port, '/v1/sign', restBody, { traceparent: parents.rest });
  await callRest(world.rest.port, '/v1/sign', {});
  await callRest(world.rest.port, '/made/up/by/a/stranger');

  const batchParent = `00-${'c'.repeat(32)}-${'3'.repeat(16)}-01`;
  const items = [{ reference: 'good', sign: restBody }, { reference: 'bad' }];
  let lines = 0;
  for await (const _ of restLines(
    world.rest.port,
    '/v1/sign:batch',
    { items },
    { headers: { traceparent: batchParent } },
  )) {
    lines += 1;
  }
  assert.equal(lines, 2);

  const metrics = await (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text();
  const count = (labels: Record<string, string>): string | undefined =>
    metrics
      .split('\n')
      .find(
        (line) =>
          line.startsWith('countersign_request_duration') &&
          line.includes('_count') &&
          Object.entries(labels).every(([k, v]) => line.includes(`${k}="${v}"`)),
      )
      ?.split(' ')[1];
  assert.equal(count({ transport: 'grpc', method: 'Sign', code: 'ok' }), '1');
  assert.equal(count({ transport: 'rest', method: 'Sign', code: 'ok' }), '1');
  assert.equal(count({ transport: 'rest', method: 'Sign', code: 'invalid_argument' }), '1');
  assert.equal(count({ transport: 'rest', method: 'unknown', code: 'not_found' }), '1');
  assert.equal(count({ transport: 'rest', method: 'SignBatch', code: 'ok' }), '1');
  assert.equal(count({ transport: 'rest', method: 'SignBatch.Sign', code: 'ok' }), '1');
  assert.equal(count({ transport: 'rest', method: 'SignBatch.Item', code: 'invalid_argument' }), '1');
  assert.ok(!metrics.includes('stranger'));
  assert.match(metrics, /countersign_leg_duration\S*_count\{[^}]*leg="queue"[^}]*\} 4/);

  await telemetry.shutdown();
  for (const [transport, parent] of Object.entries(parents)) {
    const [, traceId, spanId] = parent.split('-');
    const root = collector.spans.find((span) => span.parentSpanId === spanId);
    assert.equal(root?.traceId, traceId, transport);
    assert.equal(root?.name, 'Sign');
    const step = collector.spans.find((span) => span.parentSpanId === root.spanId);
    assert.equal(step?.name, 'key', 'a step of the use case is below the span of the request');
  }

  const batch = collector.spans.find(({ traceId }) => traceId === 'c'.repeat(32));
  const spans = collector.spans.filter(({ traceId }) => traceId === batch?.traceId);
  const named = (name: string) => spans.find((span) => span.name === name);
  assert.equal(named('SignBatch')?.parentSpanId, '3'.repeat(16));
  assert.equal(named('item')?.parentSpanId, named('SignBatch')?.spanId);
  assert.equal(named('key')?.parentSpanId, named('item')?.spanId);
});

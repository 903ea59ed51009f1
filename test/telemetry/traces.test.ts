import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { telemetrySettings } from '../../src/telemetry/settings.ts';
import { extractParent, injectHeaders, withSpan } from '../../src/telemetry/spans.ts';
import { startTelemetry } from '../../src/telemetry/start.ts';
import { startCollector } from './collector.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const remoteSpan = '00f067aa0ba902b7';
const build = { version: '1.2.3' };

test('one span a step, each below the one that it runs in, the outermost below the caller', async () => {
  const collector = await startCollector();
  const settings = telemetrySettings.parse({ traces: { endpoint: collector.endpoint, headers: { 'x-team': 'blue' } } });
  const telemetry = await startTelemetry(settings, build);

  const parent = extractParent({ traceparent: `00-${traceId}-${remoteSpan}-01` });
  let outbound: Record<string, string> = {};
  await withSpan(
    'Sign',
    { 'rpc.system': 'grpc' },
    async () => {
      await Promise.all([
        withSpan('policy', {}, async () => undefined),
        withSpan('key', { key: 'release' }, async () => {
          outbound = injectHeaders();
        }),
      ]);
      await withSpan('registry', {}, async () => undefined);
    },
    parent,
  );
  await telemetry.shutdown();
  await collector.close();

  const byName = new Map(collector.spans.map((span) => [span.name, span]));
  assert.deepEqual([...byName.keys()].sort(), ['Sign', 'key', 'policy', 'registry']);
  assert.equal(collector.spans.length, 4);
  assert.ok(collector.spans.every((span) => span.traceId === traceId));
  const root = byName.get('Sign');
  assert.equal(root?.parentSpanId, remoteSpan);
  assert.equal(root?.kind, 2, 'SPAN_KIND_SERVER');
  for (const step of ['policy', 'key', 'registry']) assert.equal(byName.get(step)?.parentSpanId, root?.spanId, step);
  assert.deepEqual(byName.get('key')?.attributes, [{ key: 'key', value: { stringValue: 'release' } }]);
  assert.equal(outbound['traceparent'], `00-${traceId}-${byName.get('key')?.spanId}-01`);
  assert.match(collector.raw[0] ?? '', /"x-team":"blue"/);
  assert.match(collector.raw[0] ?? '', /"service.version","value":\{"stringValue":"1.2.3"\}/);
});

test('a failed step carries code and reason, never the message; the error passes through', async () => {
  const collector = await startCollector();
  const telemetry = await startTelemetry(telemetrySettings.parse({ traces: { endpoint: collector.endpoint } }), build);
  const typed = new CountersignError('unavailable', 'KEY_UNAVAILABLE', 'the token is hvs.sesame');
  const unknown = new Error('password=sesame');

  await assert.rejects(
    withSpan('key', {}, () => Promise.reject(typed)),
    typed,
  );
  await assert.rejects(
    withSpan('odd', {}, () => {
      throw unknown;
    }),
    unknown,
  );
  await telemetry.shutdown();
  await collector.close();

  const statuses = Object.fromEntries(collector.spans.map((span) => [span.name, span.status]));
  assert.deepEqual(statuses, {
    key: { code: 2, message: 'unavailable KEY_UNAVAILABLE' },
    odd: { code: 2, message: 'internal INTERNAL' },
  });
  assert.ok(!collector.raw.join().includes('sesame'));
});

for (const traceparent of [undefined, '', 'garbage', `00-${'0'.repeat(32)}-${remoteSpan}-01`, 'ff-1-2-3']) {
  test(`traceparent ${JSON.stringify(traceparent)} begins a new trace`, async () => {
    const collector = await startCollector();
    const telemetry = await startTelemetry(
      telemetrySettings.parse({ traces: { endpoint: collector.endpoint } }),
      build,
    );
    await withSpan('Sign', {}, async () => undefined, extractParent({ traceparent }));
    await telemetry.shutdown();
    await collector.close();
    assert.equal(collector.spans.length, 1);
    assert.ok(!collector.spans[0]?.parentSpanId);
    assert.match(collector.spans[0]?.traceId ?? '', /^(?!0{32})[0-9a-f]{32}$/);
  });
}

test('sampling: ratio 0 records nothing of its own, but follows a sampled caller', async () => {
  const collector = await startCollector();
  const settings = telemetrySettings.parse({ traces: { endpoint: collector.endpoint, sampleRatio: 0 } });
  const telemetry = await startTelemetry(settings, build);
  await withSpan('own', {}, async () => undefined);
  await withSpan('asked', {}, async () => undefined, extractParent({ traceparent: `00-${traceId}-${remoteSpan}-01` }));
  await withSpan(
    'unasked',
    {},
    async () => undefined,
    extractParent({ traceparent: `00-${traceId}-${remoteSpan}-00` }),
  );
  await telemetry.shutdown();
  await collector.close();
  assert.deepEqual(
    collector.spans.map((span) => span.name),
    ['asked'],
  );
});

test('a collector that refuses is reported once, without holding up the work', async () => {
  const collector = await startCollector(413);
  const problems: string[] = [];
  const settings = telemetrySettings.parse({
    traces: { endpoint: collector.endpoint, headers: { 'x-key': 'sesame' } },
  });
  const telemetry = await startTelemetry(settings, build, (problem) => problems.push(problem));
  const answers = await Promise.all(Array.from({ length: 700 }, (_, index) => withSpan('step', {}, async () => index)));
  assert.equal(answers.length, 700);
  await telemetry.shutdown();
  await collector.close();
  assert.ok(problems.length >= 1 && problems.length <= 2, problems.join('\n'));
  assert.match(problems[0] ?? '', /could not be exported/);
  assert.ok(!problems.join().includes('sesame'));
});

test('without tracing the step runs at once, and no header goes out', async () => {
  let ran = false;
  const answer = withSpan('Sign', {}, async (span) => {
    ran = true;
    assert.equal(span.isRecording(), false);
    return 7;
  });
  assert.equal(ran, true, 'fn was called synchronously');
  assert.equal(await answer, 7);
  assert.equal(extractParent({ traceparent: `00-${traceId}-${remoteSpan}-01` }), undefined);
  assert.deepEqual(injectHeaders(), {});
});

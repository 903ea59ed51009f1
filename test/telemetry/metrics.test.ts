import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openLocalKey } from '../../src/keys/local.ts';
import { localSettings } from '../../src/keys/local/settings.ts';
import { openContext } from '../../src/model/context.ts';
import { CountersignError } from '../../src/model/error.ts';
import { observeKeys } from '../../src/observed.ts';
import {
  recordDecision,
  recordKeyError,
  recordLeg,
  recordRegistryError,
  recordRequest,
} from '../../src/telemetry/metrics.ts';
import { telemetrySettings } from '../../src/telemetry/settings.ts';
import { startTelemetry } from '../../src/telemetry/start.ts';

type Scrape = { readonly contentType: string; readonly text: string; value(series: string): number | undefined };

const withMetrics = async (record: () => void | Promise<void>): Promise<Scrape> => {
  const telemetry = await startTelemetry(telemetrySettings.parse({ metrics: true }), { version: '1.2.3' });
  const { metricsHandler } = telemetry;
  assert.ok(metricsHandler);
  const server = createServer(metricsHandler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    await record();
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/metrics`);
    const text = await response.text();
    const samples = parse(text);
    return { contentType: response.headers.get('content-type') ?? '', text, value: (series) => samples.get(series) };
  } finally {
    server.close();
    await telemetry.shutdown();
  }
};

/** Prometheus text format 0.0.4; every line must be a comment or a sample. Labels are sorted. */
const parse = (text: string): Map<string, number> => {
  const samples = new Map<string, number>();
  for (const line of text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$/.exec(line);
    assert.ok(match, `not a sample: ${line}`);
    const labels = [...(match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([whole]) => whole).sort();
    samples.set(`${match[1]}{${labels.join(',')}}`, match[3] === '+Inf' ? Number.POSITIVE_INFINITY : Number(match[3]));
  }
  return samples;
};

test('the key leg has one observation a signature, with what was waited for the key', async () => {
  const waitMs = 300;
  const { context, dispose } = openContext('test', 10_000);
  const { value } = await withMetrics(async () => {
    const { description } = await openLocalKey(
      localSettings.parse({ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }),
    );
    const held = {
      description,
      member: 'release',
      sign: async () => new Uint8Array(1),
      signMany: async () => [],
      failsOver: () => false,
      release: () => {},
    };
    const hold = async (name: string) => {
      await sleep(waitMs);
      if (name !== 'release') throw new CountersignError('unavailable', 'OUT_OF_REACH', 'no');
      return held;
    };
    const keys = observeKeys({ hold, describe: async () => description }, [{ name: 'release', kind: 'local' }]);
    const key = await keys.hold('release', context);
    await key.sign({ kind: 'message', message: new Uint8Array(1) }, context);
    await key.sign({ kind: 'message', message: new Uint8Array(1) }, context);
    await assert.rejects(keys.hold('out-of-reach', context), { reason: 'OUT_OF_REACH' });
  });
  dispose();
  const leg = 'countersign_leg_duration_seconds';
  assert.equal(value(`${leg}_count{leg="key"}`), 3, 'two signatures, one key that could not be had');
  // A timer may be early by a part of a millisecond.
  const least = (2 * (waitMs - 1)) / 1000;
  assert.ok((value(`${leg}_sum{leg="key"}`) ?? 0) >= least, 'the waiting for a key counts, had or not');
  assert.equal(value(`${leg}_bucket{le="0.25",leg="key"}`), 1, 'once only: the second signature took no time');
});

test('requests, legs, decisions and errors appear with their labels', async () => {
  const scrape = await withMetrics(async () => {
    recordRequest({ transport: 'grpc', method: 'Sign', code: 'ok', seconds: 0.002 });
    recordRequest({ transport: 'grpc', method: 'Sign', code: 'ok', seconds: 0.3 });
    recordRequest({ transport: 'rest', method: 'Sign', code: 'permission_denied', seconds: 0.001 });
    recordLeg('queue', 0.004);
    recordLeg('registry', 1.5);
    recordLeg('key', 0.001);
    recordLeg('key', 0.002);
    recordDecision('releases', true);
    recordDecision('releases', true);
    recordDecision(undefined, false);
    recordKeyError('release', 'KEY_SEALED');
    recordRegistryError('REGISTRY_ACCESS_DENIED');
  });
  assert.equal(scrape.contentType, 'text/plain; version=0.0.4; charset=utf-8');
  const signed = 'code="ok",method="Sign",transport="grpc"';
  const expected = {
    [`countersign_request_duration_seconds_count{${signed}}`]: 2,
    [`countersign_request_duration_seconds_sum{${signed}}`]: 0.302,
    [`countersign_request_duration_seconds_bucket{code="ok",le="0.0025",method="Sign",transport="grpc"}`]: 1,
    [`countersign_request_duration_seconds_bucket{code="ok",le="0.5",method="Sign",transport="grpc"}`]: 2,
    'countersign_request_duration_seconds_count{code="permission_denied",method="Sign",transport="rest"}': 1,
    'countersign_leg_duration_seconds_count{leg="queue"}': 1,
    'countersign_leg_duration_seconds_sum{leg="registry"}': 1.5,
    'countersign_leg_duration_seconds_count{leg="key"}': 2,
    'countersign_policy_decisions_total{decision="allow",rule="releases"}': 2,
    'countersign_policy_decisions_total{decision="deny",rule=""}': 1,
    'countersign_key_errors_total{key="release",reason="KEY_SEALED"}': 1,
    'countersign_registry_errors_total{reason="REGISTRY_ACCESS_DENIED"}': 1,
  };
  for (const [series, value] of Object.entries(expected))
    assert.equal(scrape.value(series), value, `${series}\n${scrape.text}`);
});

test('the process tells its build, memory and event-loop delay', async () => {
  const scrape = await withMetrics(async () => {
    await new Promise((resolve) => setTimeout(resolve, 60)); // a few samples of the loop, one of them late:
    const until = performance.now() + 150;
    while (performance.now() < until);
    await new Promise((resolve) => setTimeout(resolve, 60));
  });
  assert.equal(scrape.value(`countersign_build_info{node="${process.version}",version="1.2.3"}`), 1, scrape.text);
  const resident = scrape.value('process_resident_memory_bytes{}') ?? 0;
  assert.ok(resident > 20e6 && resident < 4e9, String(resident));
  const late = scrape.value('nodejs_eventloop_delay_max_seconds{}') ?? 0;
  assert.ok(late > 0.1 && late < 5, String(late));
  assert.ok((scrape.value('process_cpu_seconds_total{}') ?? 0) > 0.1);
  assert.ok(Math.abs((scrape.value('process_start_time_seconds{}') ?? 0) * 1000 - performance.timeOrigin) < 1000);
});

test('more label values than any configuration has do not grow without bound', async () => {
  const scrape = await withMetrics(() => {
    for (let index = 0; index < 5_000; index += 1) recordKeyError(`key-${index}`, 'KEY_SEALED');
  });
  const series = scrape.text.split('\n').filter((line) => line.startsWith('countersign_key_errors_total'));
  assert.ok(series.length <= 1_001, String(series.length));
});

test('before the start and after the end, recording does nothing', async () => {
  recordRequest({ transport: 'grpc', method: 'Sign', code: 'ok', seconds: 1 });
  recordKeyError('release', 'KEY_SEALED');
  const scrape = await withMetrics(() => undefined);
  assert.equal(scrape.value('countersign_key_errors_total{key="release",reason="KEY_SEALED"}'), undefined);
  assert.doesNotThrow(() => recordDecision('releases', true));
});

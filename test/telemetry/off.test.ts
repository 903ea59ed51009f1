import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';

const root = new URL('../../', import.meta.url);

/** The @opentelemetry packages that a process has loaded after starting telemetry with these settings. */
const loadedWith = async (settings: object): Promise<string[]> => {
  const program = `
    import { registerHooks } from 'node:module';
    const loaded = new Set();
    registerHooks({
      load(url, context, next) {
        const match = /node_modules\\/@opentelemetry\\/([^/]+)/.exec(url);
        if (match) loaded.add(match[1]);
        return next(url, context);
      },
    });
    const { telemetrySettings } = await import('./src/telemetry/settings.ts');
    const { startTelemetry } = await import('./src/telemetry/start.ts');
    await import('./src/telemetry/spans.ts');
    await import('./src/telemetry/metrics.ts');
    const telemetry = await startTelemetry(telemetrySettings.parse(${JSON.stringify(settings)}), { version: '0' });
    await telemetry.shutdown();
    console.log(JSON.stringify([...loaded].sort()));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: root });
  return JSON.parse(stdout) as string[];
};

test('off, no SDK package is loaded; on, only those that the settings need', async () => {
  assert.deepEqual(await loadedWith({}), ['api']);
  const metrics = await loadedWith({ metrics: true });
  assert.ok(metrics.includes('sdk-metrics') && metrics.includes('exporter-prometheus'), metrics.join());
  assert.ok(!metrics.includes('sdk-trace') && !metrics.includes('exporter-trace-otlp-http'), metrics.join());
  const traces = await loadedWith({ traces: { endpoint: 'http://127.0.0.1:9/v1/traces' } });
  assert.ok(traces.includes('sdk-trace') && !traces.includes('exporter-prometheus'), traces.join());
});

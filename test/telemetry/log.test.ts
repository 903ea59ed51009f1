import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { CountersignError } from '../../src/model/error.ts';
import { createLogger, flushLog, type Logger } from '../../src/telemetry/log.ts';
import { redact } from '../../src/telemetry/redact.ts';
import { type LogSettings, telemetrySettings } from '../../src/telemetry/settings.ts';

const logged = (settings: Partial<LogSettings>, write: (log: Logger) => void, terminal = false): string => {
  const lines: string[] = [];
  const all = { ...telemetrySettings.parse({}).log, ...settings };
  write(createLogger(all, { write: (line) => lines.push(line) }, terminal));
  return lines.join('');
};

const jwt = `eyJhbGciOiJFUzI1NiJ9.${'eyJzdWIiOiJhIn0'}.c2lnbmF0dXJlLXNpZ25hdHVyZQ`;
const privateKey = '-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----';

test('one JSON object a line: time, level, message, fields', () => {
  const lines = logged({}, (log) => {
    log.info({ requestId: 'r-1', method: 'Sign' }, 'answered');
    log.debug('not at this level');
    log.warn('second');
  })
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.equal(lines.length, 2);
  const { time, ...rest } = lines[0] ?? {};
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(rest, { level: 'info', requestId: 'r-1', method: 'Sign', msg: 'answered' });
  assert.equal(lines[1]?.['level'], 'warn');
});

test('an error is logged with its causes, without what a client hung onto it', () => {
  const clientError = Object.assign(new Error('Request failed'), {
    code: 'ERR_BAD_RESPONSE',
    config: { auth: 'sesame' },
  });
  const error = new CountersignError('unavailable', 'KEY_UNAVAILABLE', 'Try again.', { cause: clientError });
  const line = logged({}, (log) => log.error({ err: error }, 'sign failed'));
  const { err } = JSON.parse(line) as { err: Record<string, unknown> & { cause: Record<string, unknown> } };
  assert.equal(err['code'], 'unavailable');
  assert.equal(err['reason'], 'KEY_UNAVAILABLE');
  assert.match(String(err['stack']), /log\.test\.ts/);
  assert.equal(err.cause['code'], 'ERR_BAD_RESPONSE');
  assert.ok(!line.includes('sesame'));
});

for (const format of ['json', 'text'] as const) {
  test(`credentials are taken out by name and by shape (${format})`, () => {
    const output = logged({ format }, (log) => {
      log.info(
        { authorization: 'sesame', request: { headers: { authorization: 'sesame' }, password: 'sesame' } },
        'in',
      );
      log.info({ detail: `asked with Bearer ${jwt}` }, `token ${jwt}`);
      log.info('vault said hvs.CAESIJsesameLongEnoughTokenX and Basic c2VzYW1lOnNlc2FtZQ==');
      log.info('fetched https://user:sesame@registry.example/v2/');
      log.error({ err: new Error(`cannot read ${privateKey}`) }, privateKey);
    });
    for (const secret of ['sesame', 'c2VzYW1l', 'c2lnbmF0dXJl', 'MIGHAgEAMBMG']) {
      assert.ok(!output.includes(secret), `${secret} in\n${output}`);
    }
    if (format === 'json')
      for (const line of output.trimEnd().split('\n')) assert.doesNotThrow(() => JSON.parse(line), line);
    assert.match(output, /registry\.example\/v2/);
  });
}

test('redact leaves digests, references, e-mail addresses and dotted names alone', () => {
  const text = `sha256:${'a'.repeat(64)} registry.example/acme/app:v1 a@b.example https://token.actions.example/x?y=a@b refs/tags/v1 r.s.t`;
  assert.equal(redact(text), text);
});

test('text for people: one line, fields after the message, stacks below, no control characters', () => {
  const output = logged(
    { format: 'auto' },
    (log) => log.warn({ key: 'release', path: 'a b' }, 'odd \u001b[31mred\nforged'),
    true,
  );
  assert.match(output, /^\d\d:\d\d:\d\d\.\d{3} WARN {2}odd \?\[31mred\\nforged key=release path="a b"\n$/);
  const steered = logged({ format: 'text' }, (log) => log.warn({ detail: 'a\u009b2J\u001b[2J\nb' }, 'request'));
  assert.match(steered, /request detail="a\?2J\\u001b\[2J\\nb"\n$/);
  const stack = logged({ format: 'text' }, (log) => log.error({ err: new Error('boom') }, 'failed'));
  assert.match(stack, /ERROR failed\n {4}Error: boom\n {8}at /);
});

test('what is buffered is written before the process exits', async () => {
  const program = `
    import { createLogger } from './src/telemetry/log.ts';
    const log = createLogger({ level: 'info', format: 'auto' });
    for (let index = 0; index < 2000; index += 1) log.info({ index }, 'line');
    process.exit(3);`;
  const root = new URL('../../', import.meta.url);
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: root });
  const { code, stdout, stderr } = (await run.catch((error: unknown) => error)) as {
    code: number;
    stdout: string;
    stderr: string;
  };
  assert.equal(code, 3);
  assert.equal(stdout, '');
  const lines = stderr.trimEnd().split('\n');
  assert.equal(lines.length, 2000);
  assert.equal((JSON.parse(lines[1999] ?? '') as { index: number }).index, 1999);
});

test('flushLog waits until every line has arrived, and not for ever', async () => {
  const program = `
    import { createLogger, flushLog } from './src/telemetry/log.ts';
    const log = createLogger({ level: 'info', format: 'json' });
    for (let index = 0; index < 20; index += 1) { log.info({ index }, 'line'); if (index % 7 === 0) await flushLog(log); }
    await flushLog(log);
    process.reallyExit(0);`; // without the hooks that would write the rest
  const root = new URL('../../', import.meta.url);
  const { stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], { cwd: root });
  const indexes = stderr
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { index: number }).index);
  assert.deepEqual(
    indexes,
    Array.from({ length: 20 }, (_, index) => index),
  );

  const stuck = createLogger(telemetrySettings.parse({}).log, { write: () => {}, flush: () => {} });
  await flushLog(stuck);
});

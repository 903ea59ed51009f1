import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { openAuditSink } from '../../src/audit/sinks.ts';
import { openStdoutSink } from '../../src/audit/stdout.ts';
import { parseLines, recordOf } from './records.ts';

const root = new URL('../../', import.meta.url);
const child = (body: string) =>
  spawn(
    process.execPath,
    [
      '--input-type=module',
      '-e',
      `import { openAuditSink } from './src/audit/sinks.ts';
       import { recordOf } from './test/audit/records.ts';
       const sink = await openAuditSink({ kind: 'stdout' });
       ${body}`,
    ],
    { cwd: root, stdio: ['pipe', 'pipe', 'pipe'] },
  );

test('records go to standard output in order, however slowly it is read', async () => {
  const writer = child(`
    await Promise.all(Array.from({ length: 3000 }, (_, index) => sink.write(recordOf('r-' + index))));
    await sink.close();`);
  const [output, errors] = await Promise.all([text(writer.stdout), text(writer.stderr)]);
  assert.equal(errors, '');
  assert.deepEqual(
    parseLines(output),
    Array.from({ length: 3000 }, (_, index) => `r-${index}`),
  );
});

test('a full pipe holds up the records, not the process', async () => {
  const writer = child(`
    let done = false;
    const all = Promise.all(Array.from({ length: 3000 }, (_, index) => sink.write(recordOf('r-' + index)))).then(() => { done = true; });
    const ticks = setInterval(() => process.stderr.write(done ? '' : 'tick\\n'), 10);
    await all;
    clearInterval(ticks);`);
  writer.stdout.pause();
  for (let ticks = 0; ticks < 3; ) ticks += String((await once(writer.stderr, 'data'))[0]).split('tick').length - 1;
  assert.equal(parseLines(await text(writer.stdout)).length, 3000);
});

test('a reader that went away: refused, unhealthy, and the process lives on', async () => {
  const writer = child(`
    await new Promise((resolve) => process.stdin.once('data', resolve));
    await sink.write(recordOf('r-1')).then(
      () => process.stderr.write('written'),
      (error) => process.stderr.write([error.code, error.reason, error.cause.code, sink.healthy()].join(' ')),
    );
    process.exit(0);`);
  writer.stdout.destroy();
  await once(writer.stdout, 'close');
  writer.stdin.write('go');
  assert.equal(await text(writer.stderr), 'unavailable AUDIT_UNAVAILABLE EPIPE false');
});

test('no space left (or no right to write): refused and unhealthy', async () => {
  const full = existsSync('/dev/full') ? openSync('/dev/full', 'w') : openSync('/dev/null', 'r');
  try {
    const sink = openStdoutSink(full);
    await assert.rejects(sink.write(recordOf('r-1')), { code: 'unavailable', reason: 'AUDIT_UNAVAILABLE' });
    assert.equal(sink.healthy(), false);
    await sink.close();
  } finally {
    closeSync(full);
  }
});

test('a sink is chosen by kind', async () => {
  const sink = await openAuditSink({ kind: 'stdout' });
  assert.equal(sink.healthy(), true);
  assert.equal(sink.reopen, undefined);
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { openFileSink } from '../../src/audit/file.ts';
import { CountersignError } from '../../src/model/error.ts';
import { recordOf, requestIds } from './records.ts';

const run = promisify(execFile);
const root = new URL('../../', import.meta.url);

const place = (t: TestContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'audit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'audit.jsonl');
};

const opened = async (t: TestContext, file: string) => {
  const sink = await openFileSink({ kind: 'file', file, fsync: true });
  t.after(() => sink.close());
  return sink;
};

const isUnavailable = (error: unknown): boolean => {
  assert.ok(error instanceof CountersignError);
  assert.equal(error.code, 'unavailable');
  assert.equal(error.reason, 'AUDIT_UNAVAILABLE');
  assert.ok(error.retryAfterMs);
  assert.ok(error.cause instanceof Error, 'the cause is kept for the log');
  return true;
};

/** Stands in for the disk: `sync` is called instead of each fdatasync. */
const onSync = async (t: TestContext, sync: () => Promise<void>): Promise<void> => {
  const handle = await open('/dev/null', 'r');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  t.mock.method(prototype, 'datasync', sync);
};

test('records appear in the order in which they were written, each on one line; few fsyncs cover many', async (t) => {
  const file = place(t);
  let syncs = 0;
  await onSync(t, async () => {
    syncs += 1;
  });
  const sink = await opened(t, file);
  const names = Array.from({ length: 2_000 }, (_, index) => `r-${index}`);
  await Promise.all(names.map((name) => sink.write(recordOf(name))));
  assert.deepEqual(requestIds(file), names);
  assert.ok(syncs >= 1 && syncs <= 3, `${syncs} fsyncs`);
  assert.equal(statSync(file).mode & 0o777, 0o600);
});

test('a write resolves after the fsync that covers it, not before', async (t) => {
  const file = place(t);
  const gates: (() => void)[] = [];
  await onSync(t, () => new Promise((resolve) => gates.push(resolve)));
  const sink = await opened(t, file);
  const done: string[] = [];
  const write = (name: string) => sink.write(recordOf(name)).then(() => done.push(name));
  const nextSync = async (count: number) => {
    while (gates.length < count) await setTimeout(1);
  };

  const first = write('r-1');
  await nextSync(1);
  const second = write('r-2');
  await setTimeout(5);
  assert.deepEqual(requestIds(file), ['r-1'], 'written, but not yet durable');
  assert.deepEqual(done, []);
  gates[0]?.();
  await first;
  assert.deepEqual(done, ['r-1'], 'the second came after the first fsync began, so it waits for the next');
  await nextSync(2);
  gates[1]?.();
  await second;
  assert.deepEqual(done, ['r-1', 'r-2']);
});

test('a failing fsync refuses the record and makes the sink unhealthy; it recovers by itself', async (t) => {
  const file = place(t);
  let broken = true;
  await onSync(t, () =>
    broken ? Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' })) : Promise.resolve(),
  );
  const sink = await opened(t, file);
  assert.equal(sink.healthy(), true);
  await assert.rejects(sink.write(recordOf('r-1')), isUnavailable);
  assert.equal(sink.healthy(), false);
  broken = false;
  const until = performance.now() + 5_000;
  while (!sink.healthy() && performance.now() < until) await setTimeout(20);
  assert.equal(sink.healthy(), true, 'without any further write');
  await sink.write(recordOf('r-2'));
  assert.equal(requestIds(file).at(-1), 'r-2');
});

test('disk full in the middle of a line: refused, and the next record begins on a new line', async (t) => {
  const file = place(t);
  // A file size limit (in POSIX units of 512 bytes) cuts the write where a full disk would; the shell ignores its signal on behalf of the child.
  const program = `
    import { truncateSync } from 'node:fs';
    import { openFileSink } from './src/audit/file.ts';
    import { recordOf } from './test/audit/records.ts';
    const sink = await openFileSink({ kind: 'file', file: ${JSON.stringify(file)}, fsync: true });
    const outcomes = [];
    for (let index = 0; index < 5; index += 1) {
      await sink.write(recordOf('r-' + index)).then(() => outcomes.push('ok'), (error) => outcomes.push(error.reason + ' ' + error.cause.code));
    }
    outcomes.push(sink.healthy());
    console.log(JSON.stringify(outcomes));`;
  const { stdout } = await run(
    'sh',
    ['-c', `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module -e "$1"`, process.execPath, program],
    { cwd: root },
  );
  assert.deepEqual(JSON.parse(stdout), ['ok', 'ok', 'ok', 'AUDIT_UNAVAILABLE EFBIG', 'AUDIT_UNAVAILABLE EFBIG', false]);
  assert.equal(statSync(file).size, 2048, 'the last line is cut');

  const sink = await opened(t, file);
  await sink.write(recordOf('r-after'));
  const text = readFileSync(file, 'utf8').split('\n');
  assert.equal(text.length, 6, 'three records, half a record, one record, the end');
  assert.throws(() => JSON.parse(text[3] ?? ''));
  assert.equal((JSON.parse(text[4] ?? '') as { requestId: string }).requestId, 'r-after');
});

test('a folder without write permission, a missing folder, a folder instead of a file', async (t) => {
  const folder = join(place(t), '..', 'locked');
  mkdirSync(folder);
  chmodSync(join(folder, '..'), 0o755);
  chmodSync(folder, 0o555);
  const program = `
    import { openFileSink } from './src/audit/file.ts';
    await openFileSink({ kind: 'file', file: ${JSON.stringify(join(folder, 'audit.jsonl'))}, fsync: true }).then(
      () => console.log('opened'),
      (error) => console.log(error.code, error.reason, error.cause.code),
    );`;
  const nobody = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}; // permissions do not bind root
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: root, ...nobody });
  assert.equal(stdout, 'unavailable AUDIT_UNAVAILABLE EACCES\n');

  const missing = join(folder, 'none', 'audit.jsonl');
  await assert.rejects(openFileSink({ kind: 'file', file: missing, fsync: true }), isUnavailable);
  await assert.rejects(openFileSink({ kind: 'file', file: folder, fsync: true }), isUnavailable);
});

test('processes that share a file do not tear each other apart', async (t) => {
  const file = place(t);
  const program = `
    import { openFileSink } from './src/audit/file.ts';
    import { recordOf } from './test/audit/records.ts';
    const sink = await openFileSink({ kind: 'file', file: ${JSON.stringify(file)}, fsync: true });
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => sink.write(recordOf(process.pid + '-' + round + '-' + index))));
    }`;
  await Promise.all([1, 2].map(() => run(process.execPath, ['--input-type=module', '-e', program], { cwd: root })));
  assert.equal(new Set(requestIds(file)).size, 800);
});

test('log rotation: after reopen, records go to the new file, and none is lost', async (t) => {
  const file = place(t);
  const sink = await opened(t, file);
  await sink.write(recordOf('r-1'));
  renameSync(file, `${file}.1`);
  const during = sink.write(recordOf('r-2'));
  const reopened = sink.reopen();
  const after = sink.write(recordOf('r-3'));
  await Promise.all([during, reopened, after]);
  assert.deepEqual(requestIds(`${file}.1`).concat(requestIds(file)), ['r-1', 'r-2', 'r-3']);
  assert.ok(requestIds(file).includes('r-3'));
});

test('a rotation that fails refuses records instead of writing to the old file', async (t) => {
  const file = place(t);
  const sink = await opened(t, file);
  renameSync(file, `${file}.1`);
  mkdirSync(file);
  await assert.rejects(sink.reopen(), isUnavailable);
  await assert.rejects(sink.write(recordOf('r-1')), isUnavailable);
  assert.equal(sink.healthy(), false);
  rmSync(file, { recursive: true });
  await sink.write(recordOf('r-2'));
  assert.deepEqual(requestIds(file), ['r-2']);
  assert.deepEqual(requestIds(`${file}.1`), []);
});

test('a deleted file is created again; a truncated one goes on', async (t) => {
  const file = place(t);
  const sink = await opened(t, file);
  await sink.write(recordOf('r-1'));
  rmSync(file);
  await sink.write(recordOf('r-2'));
  assert.deepEqual(requestIds(file), ['r-2']);
  truncateSync(file);
  await sink.write(recordOf('r-3'));
  assert.deepEqual(requestIds(file), ['r-3']);
});

test('a half line left by a crash is closed before the first record', async (t) => {
  const file = place(t);
  appendFileSync(file, '{"half":');
  const sink = await opened(t, file);
  await sink.write(recordOf('r-1'));
  const [half, whole, end] = readFileSync(file, 'utf8').split('\n');
  assert.equal(half, '{"half":');
  assert.equal((JSON.parse(whole ?? '') as { requestId: string }).requestId, 'r-1');
  assert.equal(end, '');
});

test('close commits what waits; afterwards writes are refused', async (t) => {
  const file = place(t);
  const sink = await openFileSink({ kind: 'file', file, fsync: true });
  const waiting = [sink.write(recordOf('r-1')), sink.write(recordOf('r-2'))];
  await sink.close();
  await Promise.all(waiting);
  assert.deepEqual(requestIds(file), ['r-1', 'r-2']);
  assert.equal(sink.healthy(), false);
  await assert.rejects(sink.write(recordOf('r-3')), isUnavailable);
});

// `countersign sign --batch` against the real edge, over a fake service.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { AttestCommand, SignCommand } from '../../src/model/command.ts';
import { CountersignError } from '../../src/model/error.ts';
import { digest, goodToken, signResult, startWorld, type World } from '../api/world.ts';
import { capture } from './capture.ts';

let folder: string;
let world: World;
const signed: SignCommand[] = [];
const attested: AttestCommand[] = [];

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-batch-'));
  world = await startWorld({
    sign: async (command) => {
      signed.push(command);
      if (command.key === 'other')
        throw new CountersignError('permission_denied', 'POLICY_DENIED', 'No rule.\u001b[31m');
      if (command.key === 'down') throw new CountersignError('unavailable', 'KEY_DOWN', 'Down.', { retryAfterMs: 1 });
      return signResult();
    },
    attest: async (command) => {
      attested.push(command);
      return signResult(command.predicateType);
    },
  });
});
after(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

const run = async (lines: readonly (string | object)[], ...args: readonly string[]) => {
  signed.length = 0;
  attested.length = 0;
  const file = join(folder, 'batch');
  await writeFile(file, lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'));
  const server = ['--server', `grpc://127.0.0.1:${world.grpc.port}`, '--token', goodToken];
  return capture(['sign', '--batch', file, ...server, ...args]);
};
const images = (): readonly string[] =>
  signed.map(({ subject }) => (subject.kind === 'image' ? subject.reference : '')).sort();

test('a list of images, with one key and annotations for all', async () => {
  const list = ['# nightly', 'r.example/a:v1', '', '  r.example/b:v2  '];
  const { code, out, err } = await run(list, '--key', 'release', '-a', 'build=417', '--format', 'simple-signing');
  assert.equal(code, 0, err);
  assert.deepEqual(images(), ['r.example/a:v1', 'r.example/b:v2']);
  for (const { key, annotations, formats, ifAbsent } of signed) {
    assert.deepEqual(
      [key, { ...annotations }, formats, ifAbsent],
      ['release', { build: '417' }, ['simple-signing'], true],
    );
  }
  assert.deepEqual(out.trimEnd().split('\n').sort(), [
    `signed  2  registry.example/acme/app@${digest}`,
    `signed  4  registry.example/acme/app@${digest}`,
  ]);
  assert.equal(err, '2 of 2 done\n');
});

test('a line says what differs from the options; an attestation is one too', async () => {
  const { code } = await run(
    [
      { reference: 'one', image: 'r.example/a:v1', key: 'nightly', formats: ['bundle'], annotations: { build: '1' } },
      { name: 'acme/blob', digest, store: false, ifAbsent: true },
      {
        reference: 'three',
        image: 'r.example/c',
        repository: 'r.example/sigs',
        recursive: true,
        platforms: ['linux/arm64'],
      },
      { image: 'r.example/d', predicateType: 'https://p.example/v1', predicate: { a: [1, 'ü'] } },
    ],
    '--key',
    'release',
    '--again',
    '-a',
    'all=yes',
  );
  // An annotation is not for a blob.
  assert.equal(code, 6);
  const [one, three] = signed.toSorted((a, b) => a.key.localeCompare(b.key));
  assert.ok(one && three);
  assert.deepEqual(
    [one.key, one.formats, { ...one.annotations }, one.ifAbsent],
    ['nightly', ['bundle'], { all: 'yes', build: '1' }, false],
  );
  assert.deepEqual(
    [three.recursive, three.storage],
    [{ platforms: ['linux/arm64'] }, { kind: 'attach', repository: 'r.example/sigs' }],
  );
  assert.equal(Buffer.from(attested[0]?.predicate ?? []).toString(), '{"a":[1,"ü"]}');
});

test('failures are told beside the results, and by the exit code', async () => {
  const lines = [
    'r.example/a',
    { reference: 'denied', image: 'r.example/b', key: 'other' },
    { reference: 'down', image: 'r.example/c', key: 'down' },
  ];
  const mixed = await run(lines, '--key', 'release');
  assert.equal(mixed.code, 1);
  assert.match(mixed.out, /^FAILED {2}denied {2}permission_denied \(POLICY_DENIED\): No rule\.\?\[31m$/m);
  assert.match(mixed.out, /^FAILED {2}down {2}unavailable \(KEY_DOWN\): Down\.$/m);
  assert.match(mixed.out, /^signed {2}1 /m);
  assert.equal(mixed.err, '1 of 3 done, 2 failed\n');
  assert.equal((await run(lines.slice(1, 2))).code, 4);
  assert.equal((await run(lines.slice(2))).code, 7);
});

test('with --output json, a line of JSON for each, as REST has it', async () => {
  const { out } = await run(
    ['r.example/a', { image: 'r.example/b', key: 'other' }],
    '--key',
    'release',
    '--output',
    'json',
  );
  const [first, second] = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
    .toSorted((a, b) => a.index - b.index);
  assert.deepEqual([first.reference, first.signed.digest, first.error], ['1', digest, undefined]);
  assert.deepEqual([second.error.code, second.error.details[0].reason], [7, 'POLICY_DENIED']);
});

test('more than one call takes are several calls', async () => {
  const lines = Array.from({ length: 2_100 }, (_, at) => `r.example/app${at}`);
  const { code, out, err } = await run(lines, '--key', 'release');
  assert.equal(code, 0, err);
  assert.equal(new Set(images()).size, 2_100);
  assert.equal(out.trimEnd().split('\n').length, 2_100);
  const batches = world.logs.filter(({ fields }) => fields['method'] === 'SignBatch').slice(-3);
  assert.deepEqual(
    batches.map(({ fields }) => fields['items']),
    [1_000, 1_000, 100].map((ok) => ({ ok, failed: 0 })),
  );
  const large = Array.from({ length: 5 }, () => ({
    image: 'r.example/a',
    predicateType: 'https://p.example/v1',
    predicate: { text: 'x'.repeat(1_500_000) },
  }));
  assert.equal((await run(large, '--key', 'release')).code, 0);
  assert.equal(attested.length, 5);
});

test('every bad line is named before anything is sent', async () => {
  const { code, err } = await run([
    'r.example/a',
    { image: 'r.example/b', key: 'k', colour: 'red' },
    '{"image": ',
    { key: 'k' },
    { image: 'r.example/b', key: 'k', formats: ['paper'] },
    { image: 'r.example/b', key: 'k', predicateType: 'x' },
  ]);
  assert.equal(code, 6);
  for (const line of [1, 2, 3, 4, 5, 6]) assert.match(err, new RegExp(`line ${line}: `), err);
  assert.match(err, /colour/);
  assert.deepEqual(signed, []);
  assert.equal((await run(['# nothing'])).code, 6);
  assert.equal((await capture(['sign', 'image', '--batch', 'f', '--bundle', 'b'])).code, 2);
});

test('a call that fails as a whole says how many are not answered', async () => {
  const { code, err } = await run(
    [
      { reference: 'same', image: 'r.example/a' },
      { reference: 'same', image: 'r.example/b' },
    ],
    '--key',
    'release',
  );
  assert.equal(code, 6);
  assert.match(err, /^0 of 2 done, 2 not answered\n/);
  assert.match(err, /items\[1\]\.reference: is that of items\[0\] too/);
});

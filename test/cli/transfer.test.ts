import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { context, pushEverything, registries, registry } from '../transfer/world.ts';
import { capture } from './capture.ts';

const bare = { HOME: '/nonexistent' };

describe('copy, save, load, tree, clean and download on the command line', () => {
  it('copy reports what moved, as text and as JSON', async (test) => {
    const [from, to] = [await registry(test), await registry(test, { referrers: false })];
    const made = await pushEverything(from.host, 'acme/app', true);
    const argv = ['copy', `${from.host}/acme/app:v1`, `${to.host}/mirror/app`];
    const first = await capture(argv, bare);
    assert.equal(first.code, 0, first.err);
    assert.match(first.out, new RegExp(`^image +copied +${made.index}`, 'm'));
    assert.match(first.out, /blobs copied/);
    const second = await capture([...argv, '--output', 'json'], bare);
    const report = JSON.parse(second.out) as {
      to: string;
      digest: string;
      manifests: { role: string; outcome: string }[];
    };
    assert.equal(report.to, `${to.host}/mirror/app:v1`);
    assert.equal(report.digest, made.index);
    assert.deepEqual([...new Set(report.manifests.map(({ outcome }) => outcome))], ['present']);
    assert.deepEqual([...new Set(report.manifests.map(({ role }) => role))].sort(), [
      'attestation',
      'image',
      'sbom',
      'signature',
    ]);
  });

  it('save and load, there and back', async (test) => {
    const [from, to] = [await registry(test), await registry(test)];
    const made = await pushEverything(from.host, 'acme/app', true);
    const folder = await mkdtemp(join(tmpdir(), 'countersign-save-'));
    test.after(() => rm(folder, { recursive: true }));
    const saved = await capture(['save', `${from.host}/acme/app:v1`, '--dir', folder], bare);
    assert.equal(saved.code, 0, saved.err);
    const loaded = await capture(['load', `${to.host}/acme/app:v2`, '--dir', folder], bare);
    assert.equal(loaded.code, 0, loaded.err);
    const tree = await capture(['tree', `${to.host}/acme/app:v2`, '--output', 'json'], bare);
    const root = JSON.parse(tree.out) as {
      digest: string;
      attached: { kind: string; format: string; layout: string; predicateType?: string }[];
      manifests: { attached: unknown[] }[];
    };
    assert.equal(root.digest, made.index);
    assert.deepEqual(
      root.attached.map(({ kind, format, layout, predicateType }) => [kind, format, layout, predicateType]),
      [
        ['signature', 'simple-signing', 'tag', undefined],
        ['signature', 'bundle', 'referrer', 'https://sigstore.dev/cosign/sign/v1'],
        ['attestation', 'dsse', 'tag', undefined],
        ['attestation', 'bundle', 'referrer', 'https://slsa.dev/provenance/v1'],
        ['sbom', 'artifact', 'tag', undefined],
      ],
    );
    assert.deepEqual(
      root.manifests.map(({ attached }) => attached.length),
      [1, 1],
    );
  });

  it('tree draws each with kind, format, layout, digest and size', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const { out, code } = await capture(['tree', `${host}/acme/app:v1`], bare);
    assert.equal(code, 0);
    assert.match(out, new RegExp(`^${host}/acme/app:v1 +${made.index}$`, 'm'));
    assert.match(out, /^├── signature \(simple-signing, tag\).*\.sig$/m);
    assert.match(out, /^├── attestation \(bundle, referrer\) {2}https:\/\/slsa\.dev\/provenance\/v1/m);
    assert.match(out, new RegExp(`^│ {3}└── signature \\(bundle, referrer\\).*@${made.onBundle}`, 'm'));
    assert.match(out, new RegExp(`^└── image ${made.arm64} +\\d+ B$`, 'm'));
  });

  it('clean wants --dry-run or --force, and a dry run writes nothing', async (test) => {
    const seen = await registry(test);
    await pushEverything(seen.host, 'acme/app', true);
    const argv = ['clean', `${seen.host}/acme/app:v1`, '--type', 'signature'];
    assert.equal((await capture(argv, bare)).code, 2);
    assert.equal((await capture([...argv, '--dry-run', '--force'], bare)).code, 2);
    const before = seen.requests.length;
    const planned = await capture([...argv, '--dry-run'], bare);
    assert.equal(planned.out.match(/^would be removed/gm)?.length, 2);
    assert.ok(seen.requests.slice(before).every(({ method }) => method === 'GET' || method === 'HEAD'));
    const done = await capture([...argv, '--force', '--output', 'json'], bare);
    assert.equal(done.code, 0, done.err);
    const { attachments } = JSON.parse(done.out) as { attachments: { outcome: string; kind: string }[] };
    assert.deepEqual(
      attachments.map(({ outcome, kind }) => `${outcome} ${kind}`),
      ['removed signature', 'removed signature'],
    );
    assert.match((await capture([...argv, '--dry-run'], bare)).err, /nothing of that kind/);
  });

  it('download prints lines, filters by predicate, and writes exact bytes', async (test) => {
    const { host } = await registry(test);
    const made = await pushEverything(host, 'acme/app', true);
    const image = `${host}/acme/app:v1`;
    const signatures = (await capture(['download', 'signature', image], bare)).out.trim().split('\n');
    assert.deepEqual(JSON.parse(signatures[0] ?? '').Base64Signature.slice(0, 3), 'of ');
    assert.equal(signatures.length, 3);
    const provenance = await capture(['download', 'attestation', image, '--predicate-type', 'slsaprovenance1'], bare);
    assert.match(provenance.out, /^\{"dsseEnvelope".*\}\n$/);
    const none = await capture(
      ['download', 'attestation', image, '--predicate-type', 'https://example.com/none'],
      bare,
    );
    assert.equal(none.code, 5);
    assert.match(none.err, /NOTHING_ATTACHED/);
    assert.equal((await capture(['download', 'sbom', image], bare)).out, 'bill');
    assert.equal(
      (await capture(['download', 'signature', image, '--platform', 'linux/arm64'], bare)).out.trim().split('\n')
        .length,
      1,
    );
    const folder = await mkdtemp(join(tmpdir(), 'countersign-download-'));
    test.after(() => rm(folder, { recursive: true }));
    await capture(['download', 'sbom', image, '--output-dir', folder], bare);
    const [name = ''] = await readdir(folder);
    assert.equal(await readFile(join(folder, name), 'utf8'), 'bill');
    assert.ok(
      (await registries(test).manifests.get({ registry: host, repository: 'acme/app' }, made.index, context(test))) !==
        undefined,
    );
  });

  it('says what is wrong with a command line or a reference', async () => {
    for (const argv of [
      ['copy', 'only.example/one:v1'],
      ['copy', 'a.example/a:v1', 'b.example/b:v1', '--only', 'everything'],
      ['save', 'a.example/a:v1'],
      ['load', 'a.example/a:v1'],
      ['tree'],
      ['clean', 'a.example/a:v1', '--dry-run'],
      ['copy', 'a.example/a:v1', 'b.example/b:v1', '--registry-username', 'robot'],
    ]) {
      assert.equal((await capture(argv, bare)).code, 2, argv.join(' '));
    }
    assert.equal((await capture(['tree', 'UPPER.example/A:v1'], bare)).code, 6);
  });
});

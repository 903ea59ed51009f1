import assert from 'node:assert/strict';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Descriptor, Manifest } from '../../src/dev/registry/client.ts';
import type { Digest } from '../../src/model/digest.ts';
import { digestOf, folder, ociManifest, registry, repository } from '../transfer/world.ts';
import { capture } from './capture.ts';

const bare = { HOME: '/nonexistent' };

/** An image with these contents at its tag. */
const attached = async (
  test: TestContext,
  suffix: 'sig' | 'att' | 'sbom',
  contents: readonly Buffer[],
  annotations: Readonly<Record<string, string>> = {},
) => {
  const { host } = await registry(test);
  const there = repository(host, 'acme/app');
  const subject = await there.image('app', 'v1');
  const config = (await there.blob('application/vnd.oci.image.config.v1+json', '{}')) as Descriptor;
  const layers: Descriptor[] = [];
  for (const content of contents) {
    layers.push({
      mediaType: 'text/plain',
      digest: await there.putBlob(content),
      size: content.byteLength,
      annotations,
    });
  }
  const manifest: Manifest & { readonly schemaVersion: 2 } = {
    schemaVersion: 2,
    mediaType: ociManifest,
    config,
    layers,
  };
  await there.putManifest(manifest, `${subject.replace(':', '-')}.${suffix}`);
  return `${host}/acme/app:v1`;
};

const hex = (content: Buffer): string => digestOf(content).slice(7);

describe('download', () => {
  it('prints an SBOM byte for byte, and leaves out one that is no text', async (test) => {
    const bill = Buffer.from('\uFEFF{\n  "n": 12345678901234567890,\n  "n": 1\n}\n');
    const binary = Buffer.from([0x1f, 0x8b, 0xff]);
    const image = await attached(test, 'sbom', [bill, binary]);
    const { code, out, err } = await capture(['download', 'sbom', image], bare);
    assert.equal(out, bill.toString());
    assert.equal(code, 6);
    assert.match(err, new RegExp(`left out ${digestOf(binary)}: it is no text; --output-dir`));
    const dir = await folder(test);
    assert.equal((await capture(['download', 'sbom', image, '--output-dir', dir], bare)).code, 0);
    assert.deepEqual(await readFile(join(dir, `sha256-${hex(binary)}.content`)), binary);
  });

  it('prints attestations on one line each, numbers as they are and control characters escaped; no JSON is left out', async (test) => {
    const payload = Buffer.from('{"predicateType":"https://x"}').toString('base64');
    const envelope = Buffer.from(`{\r\n\t"payload": "${payload}",\n  "n": 1.0e2, "k": "\u009b31m\u202e\u007f"\n}\n`);
    const garbage = Buffer.from('\u001b[31mno JSON\n{}');
    const image = await attached(test, 'att', [garbage, envelope]);
    const { code, out, err } = await capture(['download', 'attestation', image], bare);
    assert.equal(out, `{ "payload": "${payload}", "n": 1.0e2, "k": "\\u009b31m\\u202e\\u007f" }\n`);
    assert.deepEqual(JSON.parse(out), JSON.parse(envelope.toString()));
    assert.equal(code, 6);
    assert.match(err, new RegExp(`left out ${digestOf(garbage)}: it is no JSON`));
  });

  it('finds a statement by its predicate in an envelope, and without one', async (test) => {
    const statement = (n: number) => JSON.stringify({ predicateType: 'https://example.com/wanted', n });
    const envelope = JSON.stringify({ payload: Buffer.from(statement(1)).toString('base64') });
    const other = JSON.stringify({ predicateType: 'https://example.com/other' });
    const image = await attached(
      test,
      'att',
      [statement(2), envelope, other].map((text) => Buffer.from(text)),
    );
    const argv = ['download', 'attestation', image, '--predicate-type', 'https://example.com/wanted'];
    assert.equal((await capture(argv, bare)).out, `${statement(2)}\n${envelope}\n`);
  });

  it('as JSON gives digests, types and annotations, with the content or its file', async (test) => {
    const annotations = {
      'dev.cosignproject.cosign/signature': 'c2ln',
      'dev.sigstore.cosign/certificate': 'PEM\u009b',
    };
    const content = Buffer.from('{"payload":true}');
    const image = await attached(test, 'sig', [content], annotations);
    const { code, out } = await capture(['download', 'signature', image, '--output', 'json'], bare);
    assert.equal(code, 0);
    assert.ok(!/[\u0080-\u009f]/.test(out));
    const facts = {
      digest: digestOf(content) as Digest,
      mediaType: 'text/plain',
      format: 'simple-signing',
      annotations,
    };
    const contentsOf = (text: string) => (JSON.parse(text) as { readonly contents: unknown }).contents;
    assert.deepEqual(contentsOf(out), [{ ...facts, content: content.toString('base64') }]);
    const dir = await folder(test);
    const written = await capture(['download', 'signature', image, '--output', 'json', '--output-dir', dir], bare);
    const file = join(dir, `sha256-${hex(content)}.payload.json`);
    assert.deepEqual(contentsOf(written.out), [{ ...facts, file }]);
    assert.equal(await readFile(`${file}.sig`, 'utf8'), 'c2ln');
  });

  it('follows no link in the folder that it writes to', async (test) => {
    const content = Buffer.from('what others made');
    const image = await attached(test, 'sbom', [content]);
    const dir = await folder(test);
    const outside = join(await folder(test), 'mine');
    await writeFile(outside, 'mine');
    await symlink(outside, join(dir, `sha256-${hex(content)}.content`));
    const { code, err } = await capture(['download', 'sbom', image, '--output-dir', dir], bare);
    assert.equal(code, 6, err);
    assert.match(err, /FILE_UNWRITABLE/);
    assert.equal(await readFile(outside, 'utf8'), 'mine');
  });

  it('tree as JSON holds no control characters', async (test) => {
    const { host } = await registry(test);
    const there = repository(host, 'acme/app');
    const image = await there.image('app', 'v1');
    const { manifest } = await there.manifest(await there.bundle(image, 'x'));
    await there.putManifest({ ...manifest, artifactType: 'text/\u009b2J', layers: [] } as Manifest);
    const { out } = await capture(['tree', `${host}/acme/app:v1`, '--output', 'json'], bare);
    assert.match(out, /text\/\\u009b2J/);
    assert.doesNotMatch((await capture(['tree', `${host}/acme/app:v1`], bare)).out, /\u009b/);
  });
});

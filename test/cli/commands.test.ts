import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import {
  type AttestRequest,
  type ExplainRequest,
  type SignRequest,
  SigningService,
} from '../../src/gen/countersign/v1/signing_pb.ts';
import { Format, Storage_Mode, StoredAt_Layout } from '../../src/gen/countersign/v1/types_pb.ts';
import { VerificationService, type VerifyRequest } from '../../src/gen/countersign/v1/verification_pb.ts';
import { capture } from './capture.ts';
import { answering, startFakeService } from './fake-service.ts';

const digest = `sha256:${'ab'.repeat(32)}`;
const bundle = '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}';
const key = { key: 'release', version: '3', algorithm: 'ecdsa-p256-sha256', hint: 'aGludA==' };
const decision = { allowed: true, rule: 'release-images', policyHash: digest };
let signRequest: SignRequest | undefined;
let attestRequest: AttestRequest | undefined;
let verifyRequest: VerifyRequest | undefined;
let explainRequest: ExplainRequest | undefined;

const stored = { repository: 'r.example/app', digest, layout: StoredAt_Layout.REFERRER };
const outputs = (request: SignRequest | AttestRequest) =>
  (request.formats.length > 0 ? request.formats : [Format.BUNDLE]).map((format) => ({
    format,
    mediaType: 'application/json',
    content: Buffer.from(format === Format.BUNDLE ? bundle : '{}'),
    ...(request.subject?.kind.case === 'image' && request.storage?.mode !== Storage_Mode.RETURN_ONLY ? { stored } : {}),
  }));
const service = await startFakeService(
  answering(SigningService.method.sign, ({ request }) => {
    signRequest = request;
    return {
      digest,
      name: 'r.example/app',
      outputs: outputs(request),
      key,
      decision,
      auditId: 'a-1',
      requestId: 'q-1',
    };
  }),
  answering(SigningService.method.attest, ({ request }) => {
    attestRequest = request;
    return { digest, name: 'r.example/app', outputs: outputs(request), key, decision, predicateType: 'https://t' };
  }),
  answering(SigningService.method.explain, ({ request }) => {
    explainRequest = request;
    const allowed = request.request.value?.key === 'release';
    const miss = { condition: 'claims.ref', wanted: 'refs/tags/*', had: 'refs/heads/main' };
    const reason = { rule: 'release-images', effect: 'allow', misses: allowed ? [] : [miss] };
    return {
      decision: { allowed, rule: allowed ? 'release-images' : '', policyHash: digest, reasons: [reason] },
      caller: { issuer: 'https://issuer.example', subject: 'repo:acme/app' },
    };
  }),
  answering(VerificationService.method.verify, ({ request }) => {
    verifyRequest = request;
    const verified = request.keys[0]?.source.value === 'release';
    return {
      verified,
      summary: verified ? 'signed' : 'no signature counts \u001b[31m',
      digest,
      signatures: [
        {
          counts: verified,
          reason: verified ? 'OK' : 'WRONG_KEY',
          message: 'message',
          format: Format.BUNDLE,
          stored,
          key: verified ? 'release' : '',
          signedBy: {
            issuer: 'https://issuer.example',
            subject: 'repo:acme/app',
            rule: 'r',
            time: '2026-01-01T00:00:00Z',
          },
          steps: [{ name: 'signature', passed: verified, detail: 'detail' }],
        },
      ],
    };
  }),
  answering(KeyService.method.listKeys, () => ({
    keys: [
      {
        name: 'release',
        backend: 'vault',
        protectionLevel: 'software',
        signing: { algorithm: 'ed25519', version: '3' },
      },
    ],
  })),
  answering(KeyService.method.getKey, ({ request }) => ({
    key: { name: request.key, backend: 'vault', signing: { pem: '-----BEGIN PUBLIC KEY-----\n', jwk: '{"kty":"EC"}' } },
  })),
);
after(() => service.stop());

const folder = await mkdtemp(join(tmpdir(), 'countersign-cli-'));
after(() => rm(folder, { recursive: true }));
const write = async (name: string, content: string | Uint8Array): Promise<string> => {
  await writeFile(join(folder, name), content);
  return join(folder, name);
};
const cli = (...args: readonly string[]) =>
  capture([...args, '--token', 'a.b.c'], { COUNTERSIGN_SERVER: service.server });

test('sign sends what the options say and shows what was signed, where, by which key and rule', async () => {
  const { code, out, err } = await cli(
    ...['sign', 'r.example/app:v1', '--key', 'release', '--format', 'bundle,simple-signing'],
    ...['-a', 'x=1', '-a', 'y=2=3', '--repository', 'r.example/signatures'],
  );
  assert.equal(err, '');
  assert.equal(code, 0);
  assert.deepEqual(signRequest?.subject?.kind, { case: 'image', value: 'r.example/app:v1' });
  assert.equal(signRequest.key, 'release');
  assert.deepEqual(signRequest.formats, [Format.BUNDLE, Format.SIMPLE_SIGNING]);
  assert.deepEqual({ ...signRequest.annotations }, { x: '1', y: '2=3' });
  assert.equal(signRequest.storage?.mode, Storage_Mode.ATTACH);
  assert.equal(signRequest.storage.repository, 'r.example/signatures');
  for (const expected of [
    `r.example/app@${digest}`,
    'referrer',
    'release, version 3',
    'release-images',
    'a-1',
    'q-1',
  ]) {
    assert.ok(out.includes(expected), expected);
  }
});

test('the default is what the service is configured for, beside the image', async () => {
  await cli('sign', 'r.example/app', '--key', 'release');
  assert.deepEqual(signRequest?.formats, []);
  assert.equal(signRequest.storage, undefined);
});

test('a small blob travels whole, a large one by digest, a digest by name', async () => {
  const small = await write('small.txt', 'hello');
  const large = Buffer.alloc(2 * 1024 * 1024 + 1, 7);
  await cli('sign', '--blob', small, '--key', 'release');
  assert.ok(signRequest?.subject?.kind.case === 'blob');
  assert.equal(signRequest.subject.kind.value.name, 'small.txt');
  assert.equal(Buffer.from(signRequest.subject.kind.value.content).toString(), 'hello');
  await cli('sign', '--blob', await write('large', large), '--name', 'acme/large', '--key', 'release');
  const largeDigest = `sha256:${createHash('sha256').update(large).digest('hex')}`;
  assert.ok((signRequest.subject.kind.case as string) === 'blobDigest');
  assert.deepEqual(
    { ...(signRequest.subject.kind.value as object) },
    { $typeName: 'countersign.v1.BlobDigest', name: 'acme/large', digest: largeDigest },
  );
  await cli('sign', '--digest', `acme/x@${digest}`, '--key', 'release');
  assert.equal((signRequest.subject.kind.value as { digest?: string }).digest, digest);
});

test('a signature that is not stored goes to stdout alone, or to --bundle', async () => {
  const unsaved = await cli('sign', 'r.example/app', '--no-store', '--key', 'release');
  assert.equal(signRequest?.storage?.mode, Storage_Mode.RETURN_ONLY);
  assert.equal(unsaved.out, `${bundle}\n`);
  assert.match(unsaved.err, /returned, not stored/);
  const path = join(folder, 'out.json');
  const saved = await cli('sign', 'r.example/app', '--no-store', '--key', 'release', '--bundle', path);
  assert.equal(await readFile(path, 'utf8'), bundle);
  assert.match(saved.out, /written +.*out\.json/);
  assert.equal(saved.err, '');
});

test('--output json is the response of the contract', async () => {
  const { out } = await cli('sign', 'r.example/app', '--key', 'release', '--output', 'json');
  const parsed = JSON.parse(out);
  assert.equal(parsed.auditId, 'a-1');
  assert.equal(parsed.outputs[0].format, 'FORMAT_BUNDLE');
  assert.equal(Buffer.from(parsed.outputs[0].content, 'base64').toString(), bundle);
});

test('attest sends the predicate as it is', async () => {
  const predicate = await write('predicate.json', '{ "a":  1 }');
  const args = ['attest', 'r.example/app', '--key', 'release', '--predicate', predicate];
  assert.equal((await cli(...args)).code, 2);
  const below = ['--recursive', '--platform', 'linux/amd64,linux/arm64'];
  const { code, out } = await cli(...args, '--type', 'slsaprovenance1', '--format', 'dsse', ...below);
  assert.equal(code, 0);
  assert.deepEqual([attestRequest?.recursive, attestRequest?.platforms], [true, ['linux/amd64', 'linux/arm64']]);
  assert.equal(Buffer.from(attestRequest?.predicate ?? []).toString(), '{ "a":  1 }');
  assert.equal(attestRequest?.predicateType, 'slsaprovenance1');
  assert.deepEqual(attestRequest.formats, [Format.DSSE]);
  assert.match(out, /type +https:\/\/t/);
});

test('verify exits with 0 or 10 and explains each signature', async () => {
  const yes = await cli('verify', 'r.example/app', '--key', 'release', '--type', 'vuln', '-a', 'x=1');
  assert.equal(yes.code, 0);
  assert.equal(verifyRequest?.predicateType, 'vuln');
  assert.deepEqual({ ...verifyRequest.annotations }, { x: '1' });
  assert.match(yes.out, /^VERIFIED/);
  assert.match(yes.out, /who +repo:acme\/app \(https:\/\/issuer\.example\)/);
  const pem = await write('other.pub', '-----BEGIN PUBLIC KEY-----');
  const signature = await write('signature', 'raw');
  const no = await cli('verify', 'r.example/app', '--key-file', pem, '--signature', signature);
  assert.equal(no.code, 10);
  assert.deepEqual(verifyRequest.keys[0]?.source, { case: 'pem', value: '-----BEGIN PUBLIC KEY-----' });
  assert.equal(Buffer.from(verifyRequest.signatures[0] ?? []).toString(), 'raw');
  assert.match(no.out, /^NOT VERIFIED/);
  assert.match(no.out, /WRONG_KEY/);
  assert.match(no.out, /failed signature +detail/);
  assert.ok(!no.out.includes('\u001b'), 'text of others cannot steer the terminal');
  assert.equal((await cli('verify', 'r.example/app')).code, 2);
});

test('keys are listed and shown', async () => {
  assert.match((await cli('keys', 'list')).out, /release +ed25519 +vault +software +3 +ready/);
  assert.equal((await cli('keys', 'get', 'release', '--pem')).out, '-----BEGIN PUBLIC KEY-----\n');
  assert.equal((await cli('keys', 'get', 'release', '--jwk')).out, '{"kty":"EC"}\n');
  assert.equal(JSON.parse((await cli('keys', 'get', 'release', '--output', 'json')).out).key.name, 'release');
  assert.equal((await cli('keys', 'get')).code, 2);
});

test('policy explain exits with 0 or 10 and shows what each rule missed', async () => {
  const yes = await cli('policy', 'explain', 'r.example/app', '--key', 'release');
  assert.equal(yes.code, 0);
  assert.equal(explainRequest?.request.case, 'sign');
  assert.match(yes.out, /^ALLOWED {2}rule release-images/);
  const no = await cli('policy', 'explain', 'r.example/app', '--key', 'other', '--type', 'vuln');
  assert.equal(no.code, 10);
  assert.equal(explainRequest.request.case as string, 'attest');
  assert.match(no.out, /claims\.ref +wanted refs\/tags\/\* +had refs\/heads\/main/);
});

test('a subject must be exactly one thing', async () => {
  const wrong: readonly (readonly string[])[] = [
    [],
    ['image', '--digest', `n@${digest}`],
    ['one', 'two'],
    ['--digest', 'n@sha256:short'],
    ['image', '--name', 'n'],
    ['image', '--format', 'pgp'],
    ['image', '-a', 'novalue'],
    ['image', '-a', 'x=1', '-a', 'x=2'],
    ['image', '--format', 'simple-signing,dsse', '--bundle', 'out'],
    ['image', '--timeout', 'soon'],
    ['image', '--client-cert', 'c'],
  ];
  for (const args of wrong) assert.equal((await cli('sign', ...args, '--key', 'release')).code, 2, args.join(' '));
  assert.equal((await cli('sign', '--blob', join(folder, 'absent'), '--key', 'release')).code, 6);
});

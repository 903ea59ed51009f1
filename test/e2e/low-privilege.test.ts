// What a caller with a valid token and few rights may try in order to get more: each attempt ended in a signature once.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { decodeSign } from '../../src/api/decode.ts';
import { pushImage } from '../../src/dev/image.ts';
import { startWorld, type World } from '../../src/dev/world.ts';
import { formats } from '../../src/formats/formats.ts';
import { buildStatement } from '../../src/formats/statement.ts';
import { SignRequestSchema } from '../../src/gen/countersign/v1/signing_pb.ts';
import type { Digest } from '../../src/model/digest.ts';
import type { Signable } from '../../src/model/signature.ts';
import { decide } from '../../src/policy/decide.ts';
import { loadPolicy } from '../../src/policy/load.ts';
import { signQuestion } from '../../src/signing/sign.ts';
import { targetOf } from '../../src/signing/target.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const foreign: Digest = `sha256:${'ab'.repeat(32)}`;
const image: Signable = { kind: 'image', repository: 'registry.example/prod/app', digest: foreign, annotations: {} };
const provenance = 'https://slsa.dev/provenance/v1';
const attestation: Signable = {
  kind: 'statement',
  predicateType: provenance,
  digest: foreign,
  statement: buildStatement({
    subjects: [{ digest: foreign }],
    predicateType: provenance,
    predicate: {},
    version: 'v0.1',
  }),
};

describe('a caller who may only sign files', () => {
  let world: World;
  before(async () => {
    world = await startWorld();
  });
  after(() => world.stop());

  const call = async (path: string, request: object) => {
    const response = await fetch(`http://${world.rest}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await world.token()}`, 'content-type': 'application/json' },
      body: JSON.stringify({ ...request, key: world.key }),
    });
    return { status: response.status, body: (await response.json()) as { detail?: string; reason?: string } };
  };
  const sign = (subject: object) => call('/v1/sign', { subject });
  const attest = (subject: object) =>
    call('/v1/attest', { subject, predicateType: 'https://example.com/any', predicate: base64('{}') });

  for (const [what, message] of [
    ['an image signature', formats['simple-signing'].message(image, new Date())],
    ['an image signature in a bundle', formats.bundle.message(image, new Date())],
    ['an attestation', formats.dsse.message(attestation, new Date())],
  ] as const) {
    test(`gets none for the digest of ${what}`, async () => {
      assert(message.kind === 'message');
      const digest = `sha256:${createHash('sha256').update(message.message).digest('hex')}`;
      const { status, body } = await sign({ blobDigest: { name: 'harmless.txt', digest } });
      assert.equal(status, 403, JSON.stringify(body));
      assert.match(body.detail ?? '', /blobsByDigest: wanted the blob itself, had only its digest/);
    });
  }

  test('cannot attest an image, neither by its digest nor by its manifest', async () => {
    const digest = (await pushImage(world.registry.host, 'other/app', 'v1')).digest;
    const url = `http://${world.registry.host}/v2/other/app/manifests/${digest}`;
    const manifest = await (await fetch(url)).text();
    assert.match(`sha256:${createHash('sha256').update(manifest).digest('hex')}`, new RegExp(digest));

    assert.equal((await attest({ blobDigest: { name: 'harmless.txt', digest } })).status, 403);
    const spellings = [manifest, ` ${manifest}`, manifest.replace('schemaVersion', 'SchemaVersion')];
    for (const each of [...spellings, '{"config":{},"layers":[]}', '{"Manifests":[]}']) {
      const { status, body } = await attest({ blob: { name: 'harmless.txt', content: base64(each) } });
      assert.deepEqual([status, body.reason], [400, 'CONFUSABLE_CONTENT'], each);
    }
  });

  test('and still signs and attests the file itself', async () => {
    for (const content of ['a', '', '{"config":{}}', '[{"schemaVersion":2}]', '{schemaVersion']) {
      const blob = { name: 'harmless.txt', content: base64(content) };
      assert.equal((await sign({ blob })).status, 200, content);
      assert.equal((await attest({ blob })).status, 200, content);
    }
  });
});

describe('one registry, many spellings', () => {
  const issuer = 'https://issuer.example';
  const policy = loadPolicy(
    [
      {
        path: 'policy.yaml',
        text: `rules:
  - {name: all, caller: {issuer: "${issuer}", claims: {sub: me}}, verbs: [sign], keys: [k], repositories: ["**"]}
  - name: not-prod
    effect: deny
    caller: {issuer: "${issuer}"}
    verbs: [sign]
    repositories: ["registry.example/prod/**", "127.0.0.1:5000/prod/**", "[::1]/prod/**", "index.docker.io/prod/**"]
`,
      },
    ],
    { keys: 'any', issuers: 'any' },
  );
  const registry = { layouts: () => ({ layouts: ['referrer'], otherLayout: 'written' }) as const };
  const decided = (reference: string, repository: string) => {
    const message = create(SignRequestSchema, {
      subject: { kind: { case: 'image', value: reference } },
      key: 'k',
      storage: { repository },
    });
    const command = decodeSign(message);
    const caller = { kind: 'oidc', issuer, subject: 'me', claims: { sub: 'me' }, expiresAt: 2e9 } as const;
    return decide(policy, signQuestion(command, targetOf(command.subject), caller, registry));
  };

  for (const spelling of [
    'registry.example/prod/app',
    'REGISTRY.Example/prod/app',
    'registry.example:443/prod/app',
    '127.1:5000/prod/app',
    '0x7f.0.0.1:5000/prod/app',
    '127.0.0.1:05000/prod/app',
    '[0:0:0::1]/prod/app',
    'prod/app',
    'docker.io/prod/app',
    'registry-1.docker.io/prod/app',
  ]) {
    test(`${spelling} is what the deny rule names, as subject and as storage`, () => {
      assert.equal(decided(`${spelling}:v1`, '').rule, 'not-prod');
      assert.equal(decided('registry.example/dev/app:v1', spelling).rule, 'not-prod');
    });
  }

  test('and others are others', () => {
    for (const other of ['registry.example/production/app', 'registry.example:5000/prod/app', '127.2:5000/prod/app']) {
      assert.equal(decided(`${other}:v1`, other).rule, 'all', other);
    }
  });
});

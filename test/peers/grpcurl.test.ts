// The unmodified grpcurl, which knows nothing but the address: it finds every service, calls every method, reads every error.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignVerify } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { type Finished, requirePeers, run, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type OlderServer, startOlderServer } from './reflection-alpha.ts';
import { type Registry, startGgcrRegistry } from './registries.ts';

const needed = ['grpcurl', 'ggcr-registry', 'crane', 'cosign-3.1.1'] as const;
const predicateType = 'https://example.com/predicate/v1';
const base64 = (value: string): string => Buffer.from(value).toString('base64');
const blob = { name: 'acme/blob', content: base64('a blob') };

type Failure = {
  readonly code: number;
  readonly message: string;
  readonly details: readonly (Readonly<Record<string, unknown>> & { readonly '@type': string })[];
};

type BatchAnswer = {
  readonly reference: string;
  readonly signed?: { readonly digest: string };
  readonly attested?: { readonly digest: string };
  readonly error?: Failure;
};

describe('grpcurl', { skip: skipWithout(...needed) }, () => {
  let registry: Registry;
  let world: ServiceWorld;
  let older: OlderServer;
  let image: TestImage;
  let address: string;
  let token: string;

  before(async () => {
    requirePeers(...needed);
    registry = await startGgcrRegistry();
    world = await startServiceWorld({
      plainHttpHosts: [registry.host],
      keys: [
        { name: 'ours', kind: 'local', generate: 'ecdsa-p256-sha256' },
        { name: 'second', kind: 'local', generate: 'ed25519' },
      ],
    });
    address = world.service.addresses.grpc ?? assert.fail('no gRPC listener');
    older = await startOlderServer(address);
    image = await pushTestImage(registry, 'acme/app:v1');
    token = await world.token();
  });
  after(async () => {
    await older?.stop();
    await world?.stop();
    await registry?.stop();
  });

  const grpcurl = (...args: readonly string[]): Promise<Finished> => run('grpcurl', ['-plaintext', ...args]);
  const printed = async (...args: readonly string[]): Promise<string> => succeeded(await grpcurl(...args)).stdout;
  const lines = async (...args: readonly string[]): Promise<readonly string[]> =>
    (await printed(...args)).trim().split('\n');

  const call = (method: string, request: object, more: readonly string[] = []): Promise<Finished> =>
    grpcurl('-H', `authorization: Bearer ${token}`, ...more, '-d', JSON.stringify(request), address, method);
  const ok = async <Body>(method: string, request: object): Promise<Body> =>
    JSON.parse(succeeded(await call(method, request)).stdout);
  const failure = async (method: string, request: object): Promise<Failure> => {
    const finished = await call(method, request, ['-format-error']);
    assert.equal(finished.stdout, '');
    return JSON.parse(finished.stderr);
  };
  const detail = ({ details }: Failure, type: string) =>
    details.find((each) => each['@type'] === `type.googleapis.com/google.rpc.${type}`) ?? assert.fail(`no ${type}`);

  const ours = ['KeyService', 'SigningService', 'VerificationService'].map((name) => `countersign.v1.${name}`);
  const others = ['grpc.health.v1.Health', 'grpc.reflection.v1.ServerReflection'];
  const everything = [...ours, ...others, 'grpc.reflection.v1alpha.ServerReflection'];

  for (const [version, at] of [
    ['v1', () => address],
    ['v1alpha', () => older.address],
  ] as const) {
    it(`lists and describes everything with its options by ${version} reflection, without a token`, async () => {
      const reached = at();
      assert.deepEqual(await lines(reached, 'list'), everything);
      for (const service of ours) {
        assert.match(await printed(reached, 'describe', service), /option \(\.google\.api\.http\) = \{/);
        for (const method of await lines(reached, 'list', service)) {
          const described = await printed(reached, 'describe', method);
          const [, input = '', output = ''] =
            /rpc \w+ \( \.([\w.]+) \) returns \( (?:stream )?\.([\w.]+) \)/.exec(described) ?? assert.fail(described);
          for (const message of [input, output]) {
            assert.match(await printed(reached, 'describe', message), /is a message:\nmessage \w+ \{/);
          }
        }
      }
      assert.match(
        await printed(reached, 'describe', 'countersign.v1.SignRequest.key'),
        /\(\.buf\.validate\.field\) = \{\s*string: \{ pattern: "\^\[a-z0-9\]/,
      );
      assert.match(await printed(reached, 'describe', 'countersign.v1.Format'), /FORMAT_SIMPLE_SIGNING = 1;/);
      assert.match(await printed(reached, 'describe', 'google.rpc.BadRequest'), /field_violations = 1;/);
      // The template of a request, as -msg-template prints it, can be made for each.
      const template = await printed('-msg-template', reached, 'describe', 'countersign.v1.AttestRequest');
      assert.match(template, /Message template:\n\{[\s\S]*"predicateType": ""/);
      assert.notEqual((await grpcurl(reached, 'describe', 'countersign.v1.Absent')).code, 0);
    });
  }

  it('the proxy that hides v1 was asked for it, and v1alpha answered', () => {
    assert.ok(older.refusedV1 > 0 && older.servedAlpha > 0, `${older.refusedV1}, ${older.servedAlpha}`);
  });

  it('calls every method', async () => {
    const called = new Set<string>();
    const method = async <Body>(name: string, request: object): Promise<Body> => {
      called.add(`countersign.v1.${name.replace('/', '.')}`);
      return ok<Body>(`countersign.v1.${name}`, request);
    };
    const subject = { image: image.ref };
    const formats = ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'];
    const sign = { subject, key: 'ours', formats, annotations: { stage: 'test' } };
    const signed = await method<Signed>('SigningService/Sign', sign);
    assert.deepEqual(
      signed.outputs.map(({ format, stored }) => [format, stored?.layout]),
      [
        ['FORMAT_SIMPLE_SIGNING', 'LAYOUT_TAG'],
        ['FORMAT_BUNDLE', 'LAYOUT_REFERRER'],
      ],
    );
    const attest = { subject, key: 'second', predicateType, predicate: base64('{"by":"a test"}') };
    const attested = await method<Signed & { readonly predicateType: string }>('SigningService/Attest', attest);
    assert.deepEqual([attested.digest, attested.predicateType], [image.digest, predicateType]);

    const batch = { items: [{ reference: 'one', sign: { ...sign, annotations: { stage: 'batch' } } }] };
    const answered = await method<BatchAnswer>('SigningService/SignBatch', batch);
    assert.deepEqual([answered.reference, answered.signed?.digest], ['one', image.digest]);

    const { predicate: _, ...asked } = attest;
    for (const request of [{ sign }, { attest: asked }]) {
      const explained = await method<{ readonly decision: { readonly allowed: boolean; readonly rule: string } }>(
        'SigningService/Explain',
        request,
      );
      assert.deepEqual([explained.decision.allowed, explained.decision.rule], [true, 'everything']);
    }

    const keys = [{ key: 'ours' }];
    const verdict = await method<VerdictJson>('VerificationService/Verify', {
      subject,
      keys,
      annotations: { stage: 'test' },
    });
    assert.equal(verdict.verified, true);
    const attestation = { subject, keys: [{ key: 'second' }], predicateType };
    assert.equal((await method<VerdictJson>('VerificationService/Verify', attestation)).verified, true);

    type Key = { readonly name: string; readonly signing: { readonly algorithm: string; readonly pem: string } };
    const listed = await method<{ readonly keys: readonly Key[] }>('KeyService/ListKeys', {});
    assert.deepEqual(
      listed.keys.map(({ name, signing }) => [name, signing.algorithm]),
      [
        ['ours', 'ecdsa-p256-sha256'],
        ['second', 'ed25519'],
      ],
    );
    const { key } = await method<{ readonly key: Key }>('KeyService/GetKey', { key: 'second' });
    assert.equal(key.signing.pem, listed.keys[1]?.signing.pem);

    const all = await Promise.all(ours.map((service) => lines(address, 'list', service)));
    assert.deepEqual([...called].sort(), all.flat().sort());
    for (const service of ['', ...ours]) {
      assert.deepEqual(await ok('grpc.health.v1.Health/Check', { service }), { status: 'SERVING' });
    }
  });

  it('streams a batch: what it signed, cosign verifies; what failed, is shown with its details', async () => {
    const names = ['batch/a:v1', 'batch/a:v2', 'batch/b:v1'];
    const images = await Promise.all(names.map((name) => pushTestImage(registry, name)));
    const items = [
      ...images.map(({ ref }) => ({
        reference: ref,
        sign: { subject: { image: ref }, key: 'ours', formats: ['FORMAT_BUNDLE'], annotations: { stage: 'batch' } },
      })),
      {
        reference: 'attested',
        attest: {
          subject: { image: images[0]?.ref },
          key: 'ours',
          formats: ['FORMAT_BUNDLE'],
          predicateType,
          predicate: base64('{"by":"a batch"}'),
        },
      },
      { reference: 'absent', sign: { subject: { image: `${registry.host}/batch/absent:v1` }, key: 'ours' } },
      { reference: 'bad', sign: { key: 'No Key' } },
    ];
    const printedAnswers = succeeded(await call('countersign.v1.SigningService/SignBatch', { items })).stdout;
    const answers = printedAnswers.split(/^(?=\{)/m).map((text): BatchAnswer => JSON.parse(text));
    const byReference = new Map(answers.map((answer) => [answer.reference, answer]));
    assert.equal(answers.length, items.length);
    assert.equal(byReference.size, items.length);

    const keyFile = join(temporaryFolder('batch'), 'ours.pub');
    writeFileSync(keyFile, await world.publicKey('ours'));
    for (const { ref, digest } of images) {
      assert.equal(byReference.get(ref)?.signed?.digest, digest);
      succeeded(await cosignVerify({ key: keyFile, ref, annotations: { stage: 'batch' } }));
    }
    assert.equal(byReference.get('attested')?.attested?.digest, images[0]?.digest);
    const first = images[0]?.ref ?? assert.fail('no image');
    succeeded(await cosignVerify({ key: keyFile, ref: first, attestationType: predicateType }));

    const absent = byReference.get('absent')?.error ?? assert.fail('it was not refused');
    assert.deepEqual([absent.code, detail(absent, 'ErrorInfo')['reason']], [5, 'IMAGE_NOT_FOUND']);
    const bad = byReference.get('bad')?.error ?? assert.fail('it was not refused');
    const { fieldViolations } = detail(bad, 'BadRequest') as unknown as {
      readonly fieldViolations: readonly { readonly field: string }[];
    };
    assert.deepEqual(fieldViolations.map(({ field }) => field).sort(), ['items[5].sign.key', 'items[5].sign.subject']);
  });

  it('shows error details decoded, as text and as JSON', async () => {
    const sign = 'countersign.v1.SigningService/Sign';
    const empty = await failure(sign, {});
    assert.equal(empty.code, 3);
    const { fieldViolations } = detail(empty, 'BadRequest') as unknown as {
      readonly fieldViolations: readonly { readonly field: string }[];
    };
    assert.deepEqual(fieldViolations.map(({ field }) => field).sort(), ['key', 'subject']);
    assert.equal(detail(empty, 'ErrorInfo')['reason'], 'INVALID_REQUEST');
    assert.match(String(detail(empty, 'RequestInfo')['requestId']), /^[0-9a-f-]{36}$/);
    const shown = await call(sign, {});
    assert.equal(shown.code, 64 + 3, 'grpcurl ends with 64 and the code');
    assert.match(
      shown.stderr,
      /Code: InvalidArgument\n[\s\S]*Details:[\s\S]*google\.rpc\.BadRequest[\s\S]*"field": "key"/,
    );

    const absent = { subject: { image: `${registry.host}/acme/absent:v1` }, key: 'ours' };
    for (const [request, code, reason] of [
      [{ subject: { blob }, key: 'unknown' }, 7, 'POLICY_DENIED'],
      [absent, 5, 'IMAGE_NOT_FOUND'],
      [
        { subject: { blobDigest: { name: blob.name, digest: `sha256:${'0'.repeat(64)}` } }, key: 'second' },
        9,
        'DIGEST_NOT_SUPPORTED',
      ],
    ] as const) {
      const failed = await failure(sign, request);
      assert.deepEqual([failed.code, detail(failed, 'ErrorInfo')['reason']], [code, reason], failed.message);
    }
    const anonymous = await grpcurl('-format-error', '-d', '{}', address, sign);
    const { code, details } = JSON.parse(anonymous.stderr) as Failure;
    assert.deepEqual([code, details[0]?.['reason']], [16, 'TOKEN_MISSING']);
  });

  it('what it signed over gRPC, REST verifies', async () => {
    const signed = await ok<Signed>('countersign.v1.SigningService/Sign', { subject: { blob }, key: 'second' });
    const signatures = signed.outputs.map(({ content }) => content);
    const question = { subject: { blob }, keys: [{ pem: await world.publicKey('second') }], signatures };
    assert.equal((await world.ok<VerdictJson>('/v1/verify', question)).verified, true);
  });
});

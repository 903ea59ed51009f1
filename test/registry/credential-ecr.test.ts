// Amazon ECR as its documentation has it; the source stands beside each claim.
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import type { HttpRequest, HttpResponse } from '../../src/net/port.ts';
import { ecrApi } from '../../src/registry/credentials/ecr.ts';
import type { AmbientIdentities } from '../../src/registry/credentials/source.ts';
import { ecrAnswer, ecrHost, inspected, json, load, noIdentities, scriptedHttp } from './credential-world.ts';
import { isError } from './world.ts';

const aws = { accessKeyId: 'AKIAOFATEST', secretAccessKey: 'secret-of-aws', sessionToken: 'session-of-aws' };

const headersOf = ({ headers }: HttpRequest): Readonly<Record<string, string>> => headers;
const hex = (bytes: string): string => createHash('sha256').update(bytes).digest('hex');

/**
 * Checks a request as AWS does, step by step from its documentation ("Create a signed AWS API request"), for what ECR is sent: POST /,
 * no query. Throws where the signature is another.
 */
const checkSignature = (request: HttpRequest, region: string, service: string): void => {
  const headers: Record<string, string> = { ...headersOf(request), host: new URL(request.url).host };
  const [, scope = '', signed = '', signature = ''] =
    /^AWS4-HMAC-SHA256 Credential=AKIAOFATEST\/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]{64})$/.exec(
      headers['authorization'] ?? '',
    ) ?? [];
  const date = headers['x-amz-date'] ?? '';
  assert.equal(scope, `${date.slice(0, 8)}/${region}/${service}/aws4_request`);
  const names = signed.split(';');
  for (const name of ['host', 'x-amz-date', 'x-amz-target', 'x-amz-security-token']) assert(names.includes(name), name);
  const canonicalHeaders = names.map((name) => `${name}:${(headers[name] ?? '').trim()}\n`).join('');
  const body = Buffer.from(request.body ?? '').toString();
  const canonical = ['POST', '/', '', canonicalHeaders, signed, hex(body)].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', date, scope, hex(canonical)].join('\n');
  const key = [date.slice(0, 8), region, service, 'aws4_request'].reduce<Buffer>(
    (previous, part) => createHmac('sha256', previous).update(part).digest(),
    Buffer.from(`AWS4${aws.secretAccessKey}`),
  );
  assert.equal(signature, createHmac('sha256', key).update(toSign).digest('hex'));
};

const withAws: AmbientIdentities = { ...noIdentities, aws: async () => aws };

test('ECR: one signed request for whoever waits, to the API of the region in the host', async () => {
  const http = scriptedHttp(() => ecrAnswer('token-1'));
  const { at, names } = await load({ credentials: { [ecrHost]: { ambient: 'ecr' } } }, { http, identities: withAws });
  assert.equal(names(ecrHost), true);
  assert.equal(http.asked.length, 0);
  const wanted = { kind: 'basic', username: 'AWS', password: 'token-1', ownRealm: true };
  assert.deepEqual(await Promise.all([at(ecrHost), at(ecrHost), at(ecrHost)]), [wanted, wanted, wanted]);
  assert.deepEqual(await at(ecrHost), wanted);
  const [request, ...more] = http.asked;
  assert.ok(request !== undefined && more.length === 0);
  assert.equal(request.url, 'https://api.ecr.eu-central-1.amazonaws.com/');
  assert.equal(headersOf(request)['x-amz-target'], 'AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken');
  assert.notEqual(request.followRedirects, true);
  checkSignature(request, 'eu-central-1', 'ecr');
  assert.equal(await at('999922223333.dkr.ecr.eu-central-1.amazonaws.com'), undefined, 'no other registry');
});

test('ECR public: its own API and signing name', async () => {
  const http = scriptedHttp(() => ecrAnswer('public', 43_200, (data) => data));
  const { at } = await load({ credentials: { 'public.ecr.aws': { ambient: 'ecr' } } }, { http, identities: withAws });
  const found = await at('public.ecr.aws');
  assert.deepEqual(found, { kind: 'basic', username: 'AWS', password: 'public', ownRealm: true });
  const [request] = http.asked;
  assert.ok(request !== undefined);
  assert.equal(request.url, 'https://api.ecr-public.us-east-1.amazonaws.com/');
  assert.equal(headersOf(request)['x-amz-target'], 'SpencerFrontendService.GetAuthorizationToken');
  checkSignature(request, 'us-east-1', 'ecr-public');
});

test('ECR: the API of each form of host', () => {
  // The endpoint rules of the SDK (client-ecr): api.ecr, ecr-fips with FIPS, and api.aws where the host is for IPv6, too.
  for (const [host, url] of [
    ['111122223333.dkr.ecr-fips.us-east-1.amazonaws.com', 'https://ecr-fips.us-east-1.amazonaws.com/'],
    ['111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn', 'https://api.ecr.cn-north-1.amazonaws.com.cn/'],
    ['111122223333.dkr-ecr.eu-west-1.on.aws', 'https://ecr.eu-west-1.api.aws/'],
    ['111122223333.dkr-ecr-fips.us-west-2.on.aws', 'https://ecr-fips.us-west-2.api.aws/'],
    ['111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu', 'https://api.ecr.eusc-de-east-1.amazonaws.eu/'],
  ] as const) {
    assert.equal(ecrApi(host).url, url);
  }
});

test('ECR: a token that has ended is not given', async () => {
  let count = 0;
  const lasting = [0.2, 43_200];
  const http = scriptedHttp(() => {
    count += 1;
    return ecrAnswer(`token-${count}`, lasting[count - 1] ?? 43_200);
  });
  const { at } = await load({ credentials: { [ecrHost]: { ambient: 'ecr' } } }, { http, identities: withAws });
  const password = async () => {
    const found = await at(ecrHost);
    return found?.kind === 'basic' ? found.password : undefined;
  };
  assert.equal(await password(), 'token-1');
  await new Promise((done) => setTimeout(done, 250));
  assert.equal(await password(), 'token-2');
  assert.equal(await password(), 'token-2');
  assert.equal(count, 2);
});

test('ECR: what goes wrong is typed, told apart by whether it may pass, and holds no secret', async () => {
  const error = (status: number, type: string) => ({ status, ...json({ __type: type, message: 'secret-of-aws' }) });
  const rows: [answer: () => Partial<HttpResponse>, passes: boolean, says: RegExp][] = [
    [() => error(400, 'AccessDeniedException'), false, /answered 400 \(AccessDeniedException\)/],
    [() => error(400, 'com.amazonaws#UnrecognizedClientException'), false, /\(UnrecognizedClientException\)/],
    [() => error(400, 'ThrottlingException'), true, /\(ThrottlingException\)/],
    [() => ({ status: 503 }), true, /answered 503 \(no reason\)/],
    [() => ({ status: 302, headers: { location: 'https://evil.example/' } }), false, /answered 302/],
    [() => ({ body: Buffer.from('secret-of-aws') }), true, /no token/],
    [() => json({ authorizationData: [] }), true, /no token/],
    [() => json({ authorizationData: [{ authorizationToken: 'secret-of-aws', expiresAt: 1 }] }), true, /no token/],
    [
      () => {
        throw new CountersignError('unavailable', 'CONNECTION_REFUSED', 'refused', { retryAfterMs: 500 });
      },
      true,
      /gave none/,
    ],
  ];
  for (const [answer, passes, says] of rows) {
    const http = scriptedHttp(answer);
    const { at } = await load({ credentials: { [ecrHost]: { ambient: 'ecr' } } }, { http, identities: withAws });
    await assert.rejects(at(ecrHost), (caught: CountersignError) => {
      assert.match(caught.message, says);
      assert.equal((caught.retryAfterMs ?? 0) > 0, passes, caught.message);
      assert.doesNotMatch(inspected(caught), /secret-of-aws|session-of-aws|Signature=/);
      return isError(passes ? 'unavailable' : 'failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE')(caught);
    });
  }
});

test('ECR: an identity that has ended is had anew, once', async () => {
  const asked: boolean[] = [];
  const identities: AmbientIdentities = {
    ...noIdentities,
    aws: async (_, anew) => {
      asked.push(anew);
      return aws;
    },
  };
  const ended = { status: 400, ...json({ __type: 'ExpiredTokenException', message: '' }) };
  const answers = [ended, ecrAnswer('token-1')];
  const http = scriptedHttp(() => answers.shift() ?? ended);
  const section = { credentials: { [ecrHost]: { ambient: 'ecr' }, 'public.ecr.aws': { ambient: 'ecr' } } };
  const { at } = await load(section, { http, identities });
  assert.equal((await at(ecrHost))?.kind, 'basic');
  assert.deepEqual(asked.splice(0), [false, true]);
  await assert.rejects(at('public.ecr.aws'), isError('failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE'));
  assert.deepEqual(asked, [false, true]);
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Client } from '@grpc/grpc-js';
import { errorTable } from '../../src/api/errors.ts';
import { toProblem } from '../../src/api/problem.ts';
import { toStatus } from '../../src/api/status.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { CountersignError, type ErrorCode, invalidArgument } from '../../src/model/error.ts';
import { authorized, callGrpc, callRest, detailsOf, grpcClient, metadataWith } from './clients.ts';
import { startWorld, type World } from './world.ts';

/** google/rpc/code.proto, written down again on purpose: code -> [gRPC, HTTP]. */
const expected: Record<ErrorCode, [number, number]> = {
  invalid_argument: [3, 400],
  unauthenticated: [16, 401],
  permission_denied: [7, 403],
  not_found: [5, 404],
  already_exists: [6, 409],
  failed_precondition: [9, 400],
  resource_exhausted: [8, 429],
  cancelled: [1, 499],
  deadline_exceeded: [4, 504],
  unavailable: [14, 503],
  data_loss: [15, 500],
  internal: [13, 500],
  unimplemented: [12, 501],
};

let world: World;
let client: Client;
let failure: unknown;
before(async () => {
  world = await startWorld({
    sign: async () => {
      throw failure;
    },
  });
  client = grpcClient(world.grpc.port);
});
after(async () => {
  client.close();
  await world.close();
});

const request = {
  subject: { kind: { case: 'image' as const, value: 'registry.example/acme/app:v1' } },
  key: 'release',
};
const body = { subject: { image: 'registry.example/acme/app:v1' }, key: 'release' };
const viaGrpc = async (metadata = authorized()) => {
  const { error } = await callGrpc(client, SigningService.method.sign, request, metadata);
  assert.ok(error);
  return error;
};

for (const [code, [grpc, http]] of Object.entries(expected) as [ErrorCode, [number, number]][]) {
  test(`${code} is ${grpc} over gRPC and ${http} over HTTP, with all details in both`, async () => {
    failure = new CountersignError(code, 'SOME_REASON', 'Say what to do.', {
      retryAfterMs: 1500,
      metadata: { stored: 'registry.example/x@sha256:00' },
      violations: [{ field: 'formats[1]', description: 'mend it' }],
      cause: new Error('secret cause'),
    });
    const error = await viaGrpc(authorized({ 'x-request-id': 'req-1' }));
    assert.equal(error.code, grpc);
    assert.equal(error.details, 'Say what to do.');
    const { status, info, request: requestInfo, bad, retry } = detailsOf(error);
    assert.equal(status.code, grpc);
    assert.equal(status.message, 'Say what to do.');
    assert.equal(info?.reason, 'SOME_REASON');
    assert.equal(info.domain, 'countersign');
    assert.deepEqual(info.metadata, { stored: 'registry.example/x@sha256:00' });
    assert.equal(requestInfo?.requestId, 'req-1');
    assert.equal(bad?.fieldViolations[0]?.field, 'formats[1]');
    assert.equal(retry?.retryDelay?.seconds, 1n);
    assert.equal(retry.retryDelay.nanos, 500_000_000);

    const rest = await callRest(world.rest.port, '/v1/sign', body, { 'x-request-id': 'req-2' });
    assert.equal(rest.status, http);
    assert.equal(rest.headers.get('content-type'), 'application/problem+json');
    assert.equal(rest.headers.get('retry-after'), '2');
    assert.equal(rest.headers.get('x-request-id'), 'req-2');
    const { title, ...problem } = rest.body;
    assert.ok(title);
    assert.deepEqual(problem, {
      type: `urn:countersign:problem:${code.replaceAll('_', '-')}`,
      status: http,
      detail: 'Say what to do.',
      instance: 'urn:countersign:request:req-2',
      code,
      reason: 'SOME_REASON',
      requestId: 'req-2',
      violations: [{ field: 'formats[1]', description: 'mend it' }],
      metadata: { stored: 'registry.example/x@sha256:00' },
      retryAfterSeconds: 2,
    });
    assert.ok(!JSON.stringify([error, rest.body]).includes('secret cause'));
  });
}

test('the table has every code and nothing else', () => {
  assert.deepEqual(Object.keys(errorTable).sort(), Object.keys(expected).sort());
});

for (const [name, thrown] of [
  ['an Error', new Error('password=hunter2')],
  ['a string', 'password=hunter2'],
  ['undefined', undefined],
  ['a rejected object', { details: 'password=hunter2', code: 5 }],
] as const) {
  test(`${name} that is not ours becomes internal and does not leak, but is logged`, async () => {
    failure = thrown;
    world.logs.length = 0;
    const error = await viaGrpc();
    assert.equal(error.code, 13);
    assert.equal(detailsOf(error).info?.reason, 'INTERNAL');
    const rest = await callRest(world.rest.port, '/v1/sign', body);
    assert.equal(rest.status, 500);
    const seen = JSON.stringify([error.message, error.metadata.getMap(), rest.body]);
    assert.ok(!seen.includes('hunter2'), seen);
    assert.deepEqual(
      world.logs.map(({ level }) => level),
      ['error', 'error'],
    );
    if (thrown !== undefined) assert.equal(world.logs[0]?.fields['err'], thrown);
  });
}

test('a lone surrogate in a message is made well-formed in both worlds', async () => {
  failure = new CountersignError('not_found', 'X', 'bad \ud800 text', { metadata: { a: '\udfff' } });
  const error = await viaGrpc();
  assert.equal(error.code, 5);
  assert.equal(error.details, 'bad \ufffd text');
  const rest = await callRest(world.rest.port, '/v1/sign', body);
  assert.equal(rest.body['detail'], 'bad \ufffd text');
});

test('trailers stay below 8 KiB, however many violations there are; the rest is counted', () => {
  const violations = Array.from({ length: 500 }, (_, at) => ({
    field: `annotations["${'k'.repeat(100)}${at}"]`,
    description: 'x'.repeat(900),
  }));
  const status = toStatus(invalidArgument(violations), 'id');
  const headers = status.metadata.toHttp2Headers();
  const size = Object.values(headers).join('').length + encodeURI(status.details).length;
  assert.ok(size < 8000, `${size}`);
  assert.match(detailsOf(status).bad?.fieldViolations.at(-1)?.description ?? '', /^and \d+ more$/);
  const problem: unknown = JSON.parse(toProblem(invalidArgument(violations), 'id').body);
  assert.ok(JSON.stringify(problem).length < 100_000);
});

test('no token: 401 with WWW-Authenticate and UNAUTHENTICATED, before the body is looked at', async () => {
  const { error } = await callGrpc(client, SigningService.method.sign, {}, metadataWith({}));
  assert.equal(error?.code, 16);
  for (const header of [undefined, 'Basic Zm9v', 'Bearer', 'Bearer a b', 'bad']) {
    const rest = await callRest(
      world.rest.port,
      '/v1/sign',
      '{"not":',
      header === undefined ? {} : { authorization: header },
    );
    if (header === undefined) continue;
    assert.equal(rest.status, 401, header);
    assert.match(rest.headers.get('www-authenticate') ?? '', /^Bearer/);
    assert.equal(rest.body['reason'], 'NO_TOKEN');
  }
});

test('a request id that does not fit is replaced', async () => {
  failure = new CountersignError('not_found', 'X', 'x');
  for (const id of ['with space', 'a'.repeat(65), 'ü', '']) {
    const { headers } = await callRest(world.rest.port, '/v1/sign', body, { 'x-request-id': encodeURI(id) });
    assert.match(headers.get('x-request-id') ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-/);
  }
});

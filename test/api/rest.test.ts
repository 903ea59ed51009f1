import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { fastifyPath, routesOf, templateExpression } from '../../src/api/routes.ts';
import { methods } from '../../src/api/methods.ts';
import { callRest, problemViolations } from './clients.ts';
import { caller, goodToken, keyVersion, startWorld, type World } from './world.ts';

let world: World;
before(async () => {
  world = await startWorld({}, { headersMs: 1_000 });
});
after(() => world.close());

const body = { subject: { image: 'registry.example/acme/app:v1' }, key: 'release' };
const rest = (path: string, ...more: [unknown?, Record<string, string>?, string?]) =>
  callRest(world.rest.port, path, ...more);

/** Sends raw bytes, answers status and parsed problem. */
const raw = async (text: string | Buffer): Promise<{ status: number; head: string; body: Record<string, unknown> }> => {
  const socket = connect(world.rest.port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  socket.write(text);
  await once(socket, 'close');
  const answer = Buffer.concat(chunks).toString();
  const [head = '', ...rest] = answer.split('\r\n\r\n');
  const content = rest.join('\r\n\r\n');
  return { status: Number(head.split(' ')[1]), head, body: content === '' ? {} : JSON.parse(content) };
};

test('all methods answer over REST as their options say', async () => {
  const list = await rest('/v1/keys');
  assert.equal(list.status, 200);
  const keys = list.body['keys'] as Record<string, unknown>[];
  assert.deepEqual(
    keys.map(({ name, problem }) => [name, problem]),
    [
      ['release', ''],
      ['sealed', 'Vault is sealed.'],
    ],
  );
  const one = await rest('/v1/keys/release');
  const { signing, backend, protectionLevel } = one.body['key'] as Record<string, unknown>;
  assert.equal(backend, 'vault');
  assert.equal(protectionLevel, 'software');
  const { pem, jwk, hint, state } = signing as Record<string, string>;
  assert.match(pem ?? '', /^-----BEGIN PUBLIC KEY-----\n/);
  assert.equal(JSON.parse(jwk ?? '').kty, 'EC');
  assert.equal(hint, keyVersion.hint);
  assert.equal(state, 'enabled');

  const signed = await rest('/v1/sign', body);
  const [output] = signed.body['outputs'] as Record<string, unknown>[];
  assert.equal(output?.['format'], 'FORMAT_BUNDLE');
  assert.equal(Buffer.from(String(output['content']), 'base64').toString(), '{"bundle":true}');
  assert.deepEqual((output['stored'] as Record<string, unknown>)['layout'], 'LAYOUT_FALLBACK_TAG');
  assert.deepEqual((signed.body['decision'] as Record<string, unknown>)['reasons'], []);
  assert.equal(signed.body['requestId'], signed.headers.get('x-request-id'));

  const explained = await rest('/v1/explain', { sign: body });
  assert.deepEqual(explained.body['caller'], { issuer: caller.issuer, subject: caller.subject });
  assert.equal(((explained.body['decision'] as Record<string, unknown>)['reasons'] as unknown[]).length, 2);

  const verified = await rest('/v1/verify', { subject: body.subject, keys: [{ key: 'release' }] });
  const [signature] = verified.body['signatures'] as Record<string, unknown>[];
  assert.ok(signature);
  assert.equal((signature['signedBy'] as Record<string, unknown>)['issuer'], caller.issuer);
  assert.equal(signature['format'], 'FORMAT_SIMPLE_SIGNING');
});

test('snake_case field names are read as well, but not both spellings', async () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  const blob = { name: 'a', digest };
  assert.equal((await rest('/v1/sign', { key: 'release', subject: { blob_digest: blob } })).status, 200);
  const both = await rest('/v1/sign', { key: 'release', subject: { blob_digest: blob, blobDigest: blob } });
  assert.equal(both.status, 400);
});

for (const [what, text, reason] of [
  ['a duplicate key', '{"key":"a","key":"release"}', 'MALFORMED_JSON'],
  ['a duplicate key, escaped', '{"key":"a","\\u006bey":"release"}', 'MALFORMED_JSON'],
  ['a duplicate key deep inside', '{"subject":{"image":"a","image":"b"},"key":"k"}', 'MALFORMED_JSON'],
  ['bad UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 'MALFORMED_JSON'],
  ['a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from('{}')]), 'MALFORMED_JSON'],
  ['an unsafe integer', '{"formats":[9007199254740993]}', 'MALFORMED_JSON'],
  ['too deep', `${'{"a":'.repeat(100)}1${'}'.repeat(100)}`, 'MALFORMED_JSON'],
  ['__proto__', '{"__proto__":{}}', 'MALFORMED_JSON'],
  ['a lone surrogate', '{"key":"\\ud800"}', 'MALFORMED_JSON'],
  ['half a document', '{"key":', 'MALFORMED_JSON'],
  ['nothing', '', 'MALFORMED_JSON'],
  ['an array', '[]', 'INVALID_REQUEST'],
  ['null', 'null', 'INVALID_REQUEST'],
  ['a string', '"x"', 'INVALID_REQUEST'],
] as const) {
  test(`a body that is ${what} is 400 ${reason}`, async () => {
    const { status, body: problem, headers } = await rest('/v1/sign', text);
    assert.equal(status, 400);
    assert.equal(problem['reason'], reason, JSON.stringify(problem));
    assert.equal(headers.get('content-type'), 'application/problem+json');
  });
}

for (const [what, path, options, status, reason] of [
  ['an unknown path', '/v2/sign', {}, 404, 'NO_SUCH_PATH'],
  ['a trailing slash', '/v1/sign/', {}, 404, 'NO_SUCH_PATH'],
  ['an empty name of a key', '/v1/keys/', {}, 400, 'INVALID_REQUEST'],
  ['a path in capitals', '/V1/KEYS', {}, 404, 'NO_SUCH_PATH'],
  ['the wrong method', '/v1/sign', {}, 405, 'METHOD_NOT_ALLOWED'],
  ['the wrong method on a path with a variable', '/v1/keys/a', { method: 'DELETE' }, 405, 'METHOD_NOT_ALLOWED'],
  ['a rare method', '/v1/keys', { method: 'PROPFIND' }, 405, 'METHOD_NOT_ALLOWED'],
  ['a part of the path that is too long', `/v1/keys/${'a'.repeat(300)}`, {}, 414, 'URI_TOO_LONG'],
  ['a bad escape in the path', '/v1/keys/%ff', {}, 400, 'BAD_URL'],
  ['text', '/v1/sign', { body: 'x', type: 'text/plain' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['a form', '/v1/sign', { body: 'a=b', type: 'application/x-www-form-urlencoded' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  [
    'another charset',
    '/v1/sign',
    { body: '{}', type: 'application/json; charset=latin1' },
    415,
    'UNSUPPORTED_MEDIA_TYPE',
  ],
  ['a compressed body', '/v1/sign', { body: gzipSync('{}'), encoding: 'gzip' }, 415, 'UNSUPPORTED_MEDIA_TYPE'],
  ['a body above the limit', '/v1/sign', { body: Buffer.alloc(4 * 1024 * 1024 + 1, 0x20) }, 413, 'BODY_TOO_LARGE'],
  ['an unknown query parameter', '/v1/keys?page=1', {}, 400, 'INVALID_REQUEST'],
  ['a query on a method with a body', '/v1/sign?key=a', { body }, 400, 'INVALID_REQUEST'],
  ['a bad escape in the query', '/v1/keys?%ff=1', {}, 400, 'INVALID_REQUEST'],
] as [string, string, { method?: string; body?: unknown; type?: string; encoding?: string }, number, string][]) {
  test(`${what} is ${status} ${reason}`, async () => {
    const headers = {
      ...(options.type === undefined ? {} : { 'content-type': options.type }),
      ...(options.encoding === undefined ? {} : { 'content-encoding': options.encoding }),
    };
    const answer = await rest(path, options.body, headers, options.method);
    assert.equal(answer.status, status, JSON.stringify(answer.body));
    assert.equal(answer.body['reason'], reason);
    assert.equal(answer.body['status'], status);
    assert.equal(answer.headers.get('content-type'), 'application/problem+json');
    assert.ok(answer.headers.get('x-request-id'));
    if (status === 405) assert.ok(answer.headers.get('allow'));
  });
}

test('JSON in UTF-8, said in words, is accepted', async () => {
  for (const type of ['application/json; charset=utf-8', 'application/json;charset="UTF-8"', 'APPLICATION/JSON']) {
    assert.equal((await rest('/v1/sign', body, { 'content-type': type })).status, 200, type);
  }
});

test('a POST without a body says that it wants one', async () => {
  const { status, body: problem } = await rest('/v1/sign', undefined, {}, 'POST');
  assert.equal(status, 400);
  assert.match(problemViolations(problem)[0]?.description ?? '', /body is required/);
});

test('what is not HTTP gets a problem and loses its connection', async () => {
  for (const [text, status] of [
    ['NOT HTTP\r\n\r\n', 400],
    ['GET /v1/keys HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n', 400],
    ['GET /v1/keys HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n', 400],
    [`GET /v1/keys HTTP/1.1\r\nhost: x\r\na: ${'b'.repeat(20_000)}\r\n\r\n`, 431],
    ['POST /v1/sign HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n', 400],
    ['POST /v1/sign HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n', 400],
    ['GET /v1/keys HTTP/1.1\r\nhost: x\r\n', 408],
  ] as const) {
    const answer = await raw(text);
    assert.equal(answer.status, status, text);
    assert.equal(answer.body['status'], status);
    assert.match(answer.head, /content-type: application\/problem\+json/);
    assert.match(answer.head, /x-request-id: [0-9a-f-]{36}/);
  }
});

test('two authorization headers are refused', async () => {
  const head = `GET /v1/keys HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer ${goodToken}\r\n`;
  const good = await raw(`${head}\r\n`);
  assert.equal(good.status, 200);
  const doubled = await raw(`${head}authorization: Bearer other\r\n\r\n`);
  assert.equal(doubled.status, 401);
  assert.equal(doubled.body['reason'], 'SEVERAL_CREDENTIALS');
});

test('HEAD answers as GET does, without a body', async () => {
  const { status, headers } = await rest('/v1/keys', undefined, {}, 'HEAD');
  assert.equal(status, 200);
  assert.ok(Number(headers.get('content-length')) > 10);
});

test('/ points to /openapi.json; both need no token', async () => {
  const root = await rest('/', undefined, { authorization: '' });
  assert.deepEqual(root.body, { service: 'countersign', openapi: '/openapi.json' });
  const document = await rest('/openapi.json', undefined, { authorization: '' });
  assert.equal(document.body['openapi'], '3.1.0');
});

test('the paths of the contract are what clients rely on', () => {
  const paths = methods.flatMap(({ name, desc }) =>
    routesOf(desc).map((route) => `${name} ${route.httpMethod} ${route.template}`),
  );
  assert.deepEqual(paths, [
    'Sign POST /v1/sign',
    'Attest POST /v1/attest',
    'Explain POST /v1/explain',
    'Verify POST /v1/verify',
    'ListKeys GET /v1/keys',
    'GetKey GET /v1/keys/{key}',
  ]);
});

test('templates with custom verbs become paths that do not collide', () => {
  assert.equal(fastifyPath('/v1/keys/{key}'), '/v1/keys/:key');
  assert.equal(fastifyPath('/v1/keys/{key_id}:verify'), '/v1/keys/:key_id(^[^/:]+)::verify');
  assert.ok(templateExpression('/v1/keys/{key}').test('/v1/keys/a'));
  assert.ok(!templateExpression('/v1/keys/{key}').test('/v1/keys/a/b'));
});

test('what cannot be read and what breaks a rule are named together', async () => {
  const spoiled = {
    subject: { image: 'two words' },
    key: 'NO SPACE',
    bogus: 1,
    formats: ['FORMAT_X'],
    annotations: { 'a b': 'c' },
  };
  const { status, body: problem } = await rest('/v1/sign', spoiled);
  assert.equal(status, 400);
  assert.deepEqual(
    problemViolations(problem).map(({ field }) => field),
    ['bogus', 'formats[0]', 'subject.image', 'key', 'annotations["a b"]'],
  );
  const empty = await rest('/v1/sign', { key: 5 });
  assert.deepEqual(
    problemViolations(empty.body).map(({ field }) => field),
    ['key', 'subject'],
  );
});

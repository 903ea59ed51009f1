import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { test } from 'node:test';
import { KeyService } from '../../src/gen/countersign/v1/keys_pb.ts';
import { capture } from './capture.ts';
import { answering, type Refusal, startFakeService, status } from './fake-service.ts';

const refused = async (refuse: Refusal, ...args: readonly string[]) => {
  const service = await startFakeService(answering(KeyService.method.listKeys, () => ({ refuse })));
  const result = await capture(['keys', 'list', '--server', service.server, '--token', 'a.b.c', ...args]);
  service.stop();
  return result;
};

const exits: readonly (readonly [name: string, code: number, exit: number])[] = [
  ['invalid_argument', status.INVALID_ARGUMENT, 6],
  ['unauthenticated', status.UNAUTHENTICATED, 3],
  ['permission_denied', status.PERMISSION_DENIED, 4],
  ['not_found', status.NOT_FOUND, 5],
  ['already_exists', status.ALREADY_EXISTS, 6],
  ['failed_precondition', status.FAILED_PRECONDITION, 6],
  ['resource_exhausted', status.RESOURCE_EXHAUSTED, 7],
  ['cancelled', status.CANCELLED, 8],
  ['deadline_exceeded', status.DEADLINE_EXCEEDED, 7],
  ['unavailable', status.UNAVAILABLE, 7],
  ['data_loss', status.DATA_LOSS, 1],
  ['internal', status.INTERNAL, 1],
  ['unimplemented', status.UNIMPLEMENTED, 1],
];
for (const [name, code, exit] of exits) {
  test(`${name} exits with ${exit} and is reported whole`, async () => {
    const refusal = {
      code,
      reason: 'SOME_REASON',
      message: 'What to do.',
      metadata: { rule: 'nearest' },
      retryAfterMs: 1500,
    };
    const text = await refused(refusal);
    assert.equal(text.code, exit);
    assert.equal(text.out, '');
    assert.equal(
      text.err,
      `error: ${name} (SOME_REASON)\n  What to do.\n  rule: nearest\n  request id: request-1\n  try again in 1.5 s\n`,
    );
    const json = await refused(refusal, '--output', 'json');
    assert.equal(json.code, exit);
    assert.deepEqual(JSON.parse(json.out), {
      error: {
        code: name,
        reason: 'SOME_REASON',
        message: 'What to do.',
        violations: [],
        metadata: { rule: 'nearest' },
        requestId: 'request-1',
        retryAfterMs: 1500,
        exitCode: exit,
      },
    });
  });
}

test('every bad field of a request is shown', async () => {
  const violations = [
    { field: 'subject.image', description: 'must name a registry' },
    { field: 'formats[1]', description: 'is given twice' },
  ];
  const { code, err } = await refused({
    code: status.INVALID_ARGUMENT,
    reason: 'INVALID_REQUEST',
    message: 'all',
    violations,
  });
  assert.equal(code, 6);
  assert.match(err, /^ {2}subject\.image: must name a registry$/m);
  assert.match(err, /^ {2}formats\[1\]: is given twice$/m);
});

test('a service that is not there, or not one, is unavailable within the deadline', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const late = await capture(['keys', 'list', '--server', `grpc://127.0.0.1:${port}`, '--timeout', '300ms']);
  for (const socket of sockets) socket.destroy();
  silent.close();
  await once(silent, 'close');
  assert.equal(late.code, 7);
  assert.match(late.err, /deadline_exceeded/);
  const gone = await capture(['keys', 'list', '--server', `grpc://127.0.0.1:${port}`]);
  assert.equal(gone.code, 7);
  assert.match(gone.err, new RegExp(`127\\.0\\.0\\.1:${port} cannot be reached \\(.*ECONNREFUSED`));
});

test('an error cannot steer the terminal that it is shown on', async () => {
  const { err } = await refused({
    code: status.UNAVAILABLE,
    reason: 'SOME_REASON',
    message: 'registry.example: \u001b]0;evil\u0007\u009b2J\u202etxet.\nnext line',
    metadata: { registry: '\u001b[2J' },
  });
  assert.match(err, /registry\.example: \?\]0;evil\?\?2J\?txet\.\n {2}next line\n {2}registry: \?\[2J\n/);
});

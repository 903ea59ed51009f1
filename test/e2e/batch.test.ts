// Batches through the whole service, against the embedded registry.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { AuditRecord } from '../../src/audit/port.ts';
import { pushImage } from '../../src/dev/image.ts';
import { registryListener } from '../../src/dev/registry.ts';
import { type SignBatchResponse, SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { Format } from '../../src/gen/countersign/v1/types_pb.ts';
import { grpcClient, metadataWith, openStream, statusDetails } from '../api/clients.ts';
import { startServiceWorld } from '../service-world.ts';
import { startServedWorld } from './served-world.ts';

const repositories = ['acme/one', 'acme/two', 'acme/three', 'acme/four'];

/** The embedded registry, which counts what it is asked; once locked, only for tokens of its own. */
const startCountingRegistry = async (t: TestContext) => {
  const { listener } = registryListener({});
  const lines: string[] = [];
  let locked = false;
  let connections = 0;
  const server = createServer((request, response) => {
    lines.push(`${request.method} ${request.url}`);
    const host = request.headers.host;
    if (request.url?.startsWith('/token')) {
      const { searchParams } = new URL(request.url, `http://${host}`);
      response.end(JSON.stringify({ token: Buffer.from(searchParams.get('scope') ?? '').toString('hex') }));
    } else if (locked && request.headers.authorization === undefined) {
      const challenge = `Bearer realm="http://${host}/token",service="registry"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    } else listener(request, response);
  });
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  });
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    lines,
    connections: () => connections,
    lock: (): void => {
      locked = true;
      lines.length = 0;
      connections = 0;
    },
  };
};

/** Images that share their blobs: `count` manifests in one repository. Answers their references. */
const pushMany = async (host: string, repository: string, count: number): Promise<readonly string[]> => {
  const { platforms } = await pushImage(host, repository, 'base', { platforms: ['linux/amd64'] });
  const manifests = `http://${host}/v2/${repository}/manifests`;
  const manifest = await (await fetch(`${manifests}/${platforms[0]?.digest}`)).json();
  const images: string[] = [];
  for (let number = 0; number < count; number++) {
    const body = JSON.stringify({ ...(manifest as object), annotations: { number: `${number}` } });
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };
    const response = await fetch(`${manifests}/v${number}`, { method: 'PUT', headers, body });
    await response.arrayBuffer();
    assert.equal(response.status, 201);
    images.push(`${host}/${repository}:v${number}`);
  }
  return images;
};

const signItem = (reference: string, image: string, key = 'release') => ({
  reference,
  request: {
    case: 'sign' as const,
    value: { subject: { kind: { case: 'image' as const, value: image } }, key, formats: [Format.BUNDLE] },
  },
});

test('1,000 items: each signed and audited by its own, with one token, one empty blob and few connections a repository', async (t) => {
  const registry = await startCountingRegistry(t);
  const world = await startServiceWorld({
    plainHttpHosts: [registry.host],
    keys: [{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    settings: { limits: { maxBatchMs: 500_000 } },
  });
  t.after(() => world.stop());
  const images = (await Promise.all(repositories.map((name) => pushMany(registry.host, name, 249)))).flat();
  registry.lock();

  const client = grpcClient(Number(world.service.addresses.grpc?.split(':')[1]));
  t.after(() => client.close());
  const bad = [
    signItem('unknown-key', images[0] ?? '', 'no-such-key'),
    signItem('no-image', `${registry.host}/acme/one:none`),
    signItem('no-registry', 'registry.invalid/acme/one:v1'),
    { reference: 'nothing' },
  ];
  const items = [...images.map((image) => signItem(image, image)), ...bad];
  assert.equal(items.length, 1_000);
  const metadata = metadataWith({ authorization: `Bearer ${await world.token()}`, 'x-request-id': 'nightly.7' });
  const messages: SignBatchResponse[] = [];
  for await (const message of openStream(client, SigningService.method.signBatch, { items }, metadata)) {
    messages.push(message);
  }

  assert.equal(messages.length, 1_000);
  for (const { reference, index, outcome } of messages) {
    assert.equal(items[index]?.reference, reference);
    if (index < images.length) {
      assert.ok(outcome.case === 'signed', `${reference}: ${JSON.stringify(outcome.value)}`);
      assert.equal(outcome.value.requestId, `nightly.7.${index}`);
      assert.ok(outcome.value.outputs[0]?.stored !== undefined);
    }
  }
  const codes = messages
    .filter(({ outcome }) => outcome.case === 'error')
    .map(({ reference, outcome }) => [reference, outcome.case === 'error' ? outcome.value.code : 0]);
  assert.deepEqual(Object.fromEntries(codes), { 'unknown-key': 7, 'no-image': 5, 'no-registry': 14, nothing: 3 });
  const digests = messages.flatMap(({ outcome }) => (outcome.case === 'signed' ? [outcome.value.digest] : []));
  assert.equal(new Set(digests).size, images.length);

  const counts = (pattern: RegExp): number => registry.lines.filter((line) => pattern.test(line)).length;
  for (const repository of repositories) {
    // One to read with, one to write with.
    assert.ok(counts(new RegExp(`^GET /token.*${encodeURIComponent(repository)}%3Apull`)) <= 2, repository);
    const empty = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a';
    // One; a second where the first takes longer than others wait for it.
    const uploads = counts(new RegExp(`^POST /v2/${repository}/blobs/uploads/\\?digest=sha256%3A${empty}`));
    assert.ok(uploads >= 1 && uploads <= 3, `${repository}: ${uploads} uploads of the empty blob`);
  }
  assert.ok(registry.connections() <= 32, `${registry.connections()} connections`);
  const records = readFileSync(world.auditFile, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line): AuditRecord => JSON.parse(line));
  const ids = (event: string): string[] =>
    records.filter((each) => each.event === event).map(({ requestId }) => requestId);
  const signedIds = [...images.keys()].map((index) => `nightly.7.${index}`).sort();
  assert.deepEqual(ids('intended').sort(), signedIds);
  assert.deepEqual(ids('completed').sort(), signedIds);
  assert.deepEqual(ids('denied'), ['nightly.7.996']);
});

test('SIGTERM in the middle of a batch: each item is signed and audited, or told to come again untouched', async (t) => {
  const world = await startServedWorld();
  t.after(() => world.stop());
  const client = grpcClient(Number(world.process.grpc.split(':')[1]));
  t.after(() => client.close());
  world.registry.hold();
  const items = Array.from({ length: 200 }, (_, at) => ({
    reference: `${at}`,
    request: {
      case: 'sign' as const,
      value: {
        subject: { kind: { case: 'image' as const, value: world.image } },
        key: 'release',
        annotations: { at: `${at}` },
        formats: [Format.BUNDLE],
      },
    },
  }));
  const metadata = metadataWith({ authorization: `Bearer ${await world.token()}` });
  const reading = (async () => {
    const found: SignBatchResponse[] = [];
    for await (const message of openStream(client, SigningService.method.signBatch, { items }, metadata))
      found.push(message);
    return found;
  })();
  await world.registry.held();
  assert.ok(world.process.child.kill('SIGTERM'));
  await world.process.logged('draining');
  world.registry.release();
  const messages = await reading;
  assert.equal(await world.process.ended, 0);

  assert.equal(messages.length, 200);
  const signed: string[] = [];
  for (const { outcome } of messages) {
    if (outcome.case === 'signed') signed.push(outcome.value.auditId);
    else {
      assert.ok(outcome.case === 'error');
      assert.equal(statusDetails(outcome.value).info?.reason, 'SHUTTING_DOWN');
    }
  }
  assert.ok(signed.length > 0);
  const records = await world.audit();
  const intended = records.filter(({ event }) => event === 'intended').map(({ id }) => id);
  const completed = records.filter(({ event }) => event === 'completed').map(({ intent }) => intent);
  assert.deepEqual(intended.sort(), signed.toSorted());
  assert.deepEqual(completed.sort(), signed.toSorted());
});

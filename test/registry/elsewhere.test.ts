import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { ResolvedImage } from '../../src/model/subject.ts';
import { type FaultRegistry, startFaultRegistry } from './fault-registry.ts';
import { clientFor, isError, layer, within } from './world.ts';

describe('a registry that points elsewhere', () => {
  const foreign: { url: string; authorization: string | undefined }[] = [];
  const thief = createServer((request, response) => {
    foreign.push({ url: request.url ?? '', authorization: request.headers.authorization });
    response.writeHead(request.url?.startsWith('/blob') ? 200 : 404).end('{"payload":"s1"}');
  });
  let server: FaultRegistry;
  let image: ResolvedImage;
  let away: string;
  const credential = { kind: 'basic', username: 'robot', password: 'hunter2' } as const;
  const open = () => clientFor(server.host, credential);
  before(async () => {
    await new Promise<void>((done) => thief.listen(0, '127.0.0.1', done));
    away = `http://127.0.0.1:${(thief.address() as AddressInfo).port}`;
    server = await startFaultRegistry({ auth: { kind: 'basic', username: 'robot', password: 'hunter2' } });
    const digest = `sha256:${'a'.repeat(64)}` as const;
    const descriptor = { mediaType: 'application/vnd.oci.image.index.v1+json', digest, size: 10 };
    image = { registry: server.host, repository: 'acme/app', descriptor };
    const registry = open();
    await registry.attach(image, layer('s1'), undefined, within(5_000));
    await registry.close();
  });
  after(() => Promise.all([server.close(), new Promise((done) => thief.close(done))]));

  test('a blob behind a redirect is read without credentials', async () => {
    const registry = open();
    server.script({
      method: 'GET',
      path: /blobs/,
      skip: 0,
      fault: { kind: 'answer', status: 307, headers: { location: `${away}/blob` } },
    });
    const found = await registry.attachments(image, undefined, within(5_000));
    assert.equal(found.length, 1);
    assert.deepEqual(foreign.splice(0), [{ url: '/blob', authorization: undefined }]);
    await registry.close();
  });

  test('an upload Location, a next page and an endless redirect elsewhere are refused', async () => {
    const registry = open();
    const headers = { location: `${away}/upload` };
    server.script({ method: 'POST', path: /uploads/, fault: { kind: 'answer', status: 202, headers } });
    await assert.rejects(
      registry.attach(image, layer('s2'), undefined, within(5_000)),
      isError('failed_precondition', 'EGRESS_DENIED'),
    );

    const page = { 'content-type': 'application/vnd.oci.image.index.v1+json', link: `<${away}/next>; rel="next"` };
    const body = '{"schemaVersion":2,"manifests":[]}';
    server.script({ path: /referrers/, fault: { kind: 'answer', status: 200, headers: page, body } });
    await assert.rejects(
      registry.attachments(image, undefined, within(5_000)),
      isError('failed_precondition', 'EGRESS_DENIED'),
    );

    const self = { ...page, link: `</v2/acme/app/referrers/${image.descriptor.digest}>; rel="next"` };
    server.script({ path: /referrers/, fault: { kind: 'answer', status: 200, headers: self, body } });
    await assert.rejects(
      registry.attachments(image, undefined, within(5_000)),
      isError('failed_precondition', 'TOO_MANY_REFERRERS'),
    );

    const loop = { location: '/v2/acme/app/manifests/loop' };
    server.script({ path: /manifests/, fault: { kind: 'answer', status: 302, headers: loop } });
    await assert.rejects(
      registry.attachments(image, undefined, within(5_000)),
      isError('failed_precondition', 'EGRESS_DENIED'),
    );
    assert.deepEqual(foreign, []);
    await registry.close();
  });
});

// What a registry that is down has to bear: not several times what it bears when it is up.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { sha256 } from '../../src/model/digest.ts';
import { startFaultRegistry } from './fault-registry.ts';
import { clientFor, isError, layer, resolve, within } from './world.ts';

test('three hundred requests to a registry that is down: a fifth more and the reserve, not three times as many', async (t) => {
  const server = await startFaultRegistry();
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  server.script({ path: /^\/v2\//, fault: { kind: 'answer', status: 503, headers: { 'retry-after': '0' } } });
  const asked = Array.from({ length: 300 }, (_, index) =>
    resolve(registry, `${server.host}/acme/app:v${index}`, within(60_000)),
  );
  for (const outcome of await Promise.allSettled(asked)) {
    assert.equal(outcome.status, 'rejected');
    isError('unavailable', 'REGISTRY_UNAVAILABLE')(outcome.reason);
  }
  assert.ok(server.seen.length > 300, 'some were tried again');
  assert.ok(server.seen.length <= 300 + 60 + 10, `${server.seen.length} requests`);
});

test("the budget is the registry's own: another one is retried as ever", async (t) => {
  const [broken, sound] = await Promise.all([startFaultRegistry(), startFaultRegistry()]);
  const registry = clientFor(broken.host);
  t.after(() => Promise.all([registry.close(), broken.close(), sound.close()]));
  await pushImage(sound.host, 'acme/app', 'v1');
  const fault = { kind: 'answer', status: 503, headers: { 'retry-after': '0' } } as const;
  broken.script({ path: /^\/v2\//, fault });
  for (let count = 0; count < 10; count++) {
    await assert.rejects(resolve(registry, `${broken.host}/acme/app:v1`, within(60_000)), isError('unavailable'));
  }
  sound.script({ path: /^\/v2\//, times: 2, fault });
  await resolve(registry, `${sound.host}/acme/app:v1`, within(60_000));
  assert.equal(sound.seen.filter(({ method }) => method === 'HEAD').length, 3);
  const before = broken.seen.length;
  await assert.rejects(resolve(registry, `${broken.host}/acme/app:v1`, within(60_000)), isError('unavailable'));
  assert.ok(broken.seen.length - before <= 2, 'what is down has used its retries up');
  broken.script();
  await assert.rejects(resolve(registry, `${broken.host}/acme/app:v1`, within(60_000)), isError('not_found'));
});

test('a registry that takes no tag: a hundred writers do not write three times each', async (t) => {
  const server = await startFaultRegistry({ etag: false });
  const registry = clientFor(server.host);
  t.after(() => Promise.all([registry.close(), server.close()]));
  await pushImage(server.host, 'acme/app', 'v1');
  server.script({
    method: 'PUT',
    path: /[.]sig$/,
    fault: { kind: 'answer', status: 503, headers: { 'retry-after': '0' } },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  server.seen.length = 0;
  const asked = Array.from({ length: 100 }, (_, index) => {
    const descriptor = { mediaType, size: 10, digest: sha256(Buffer.from(String(index))) };
    const image = { registry: server.host, repository: 'acme/app', descriptor };
    return registry.attach(image, layer(`s${index}`), undefined, within(60_000));
  });
  for (const outcome of await Promise.allSettled(asked)) {
    assert.equal(outcome.status, 'rejected');
    isError('unavailable', 'REGISTRY_UNAVAILABLE')(outcome.reason);
  }
  const firsts = server.seen.filter(({ method }) => method !== 'PUT').length;
  const puts = server.seen.length - firsts;
  assert.ok(puts > 100, 'some were tried again');
  assert.ok(puts <= 100 + firsts / 5 + 10, `${puts} writes beside ${firsts} others`);
});

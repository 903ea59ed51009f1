// What a pushed attestation costs the registry in the steady state: counted, request by request, for calls to the service.
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { startRegistry } from '../../src/dev/registry.ts';
import { type Signed, startServiceWorld } from '../service-world.ts';

/** A service, a registry that counts, and an image; each call of `attest` makes an attestation that differs from all others. */
const start = async (t: TestContext) => {
  const registry = await startRegistry();
  t.after(registry.close);
  const world = await startServiceWorld({
    keys: [{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }],
    plainHttpHosts: [registry.host],
  });
  t.after(world.stop);
  const { digest } = await pushImage(registry.host, 'acme/app', 'v1');
  const image = `${registry.host}/acme/app`;
  let made = 0;
  return {
    registry,
    byTag: { subject: { image: `${image}:v1` } },
    attest: async (more: object = {}): Promise<void> => {
      made += 1;
      const { outputs } = await world.ok<Signed>('/v1/attest', {
        subject: { image: `${image}@${digest}` },
        key: 'release',
        predicateType: 'https://example.com/predicate/v1',
        predicate: Buffer.from(JSON.stringify({ made })).toString('base64'),
        ...more,
      });
      assert.equal(outputs.length, 1);
      assert.deepEqual([outputs[0]?.existing, outputs[0]?.stored?.digest.slice(0, 7)], [false, 'sha256:']);
    },
  };
};

const push = ['POST upload', 'PUT manifest'];

// By tag a list is read, written whole and read again: attach.test.ts counts that.
describe('requests of one Attest more, a bundle as referrer', () => {
  for (const { what, more, tagged, wanted } of [
    { what: 'image by digest', more: {}, tagged: false, wanted: push },
    { what: 'image by tag', more: {}, tagged: true, wanted: ['HEAD manifest', ...push] },
    { what: 'an equal one looked for', more: { ifAbsent: true }, tagged: false, wanted: ['GET referrers', ...push] },
  ]) {
    test(`${what}: ${wanted.length}`, async (t) => {
      const { registry, attest, byTag } = await start(t);
      const request = { ...more, ...(tagged ? byTag : {}) };
      await attest(request);
      for (let call = 0; call < 3; call += 1) {
        registry.requests.length = 0;
        await attest(request);
        assert.deepEqual(
          registry.requests.map(({ method, kind }) => `${method} ${kind}`),
          wanted,
        );
      }
    });
  }

  test('fifty at once cost no more than one after the other', async (t) => {
    const { registry, attest } = await start(t);
    await attest();
    registry.requests.length = 0;
    await Promise.all(Array.from({ length: 50 }, () => attest()));
    assert.equal(registry.requests.length, 50 * push.length);
  });
});

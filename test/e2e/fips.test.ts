// With `fips: true` a service starts with keys in validated modules, and says which others it refuses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import '../keys/gcp-world.ts';
import { startFakeGcp } from '../keys/fake-gcp.ts';
import { CountersignError } from '../../src/model/error.ts';
import { type Signed, startServiceWorld } from '../service-world.ts';

test('a key in software ends the start, with its name and what its backend states; one in an HSM signs', async (t) => {
  const kms = await startFakeGcp();
  t.after(() => kms.close());
  const [software, hardware] = ['SOFTWARE', 'HSM'].map((level) => {
    const key = kms.createKey('EC_SIGN_P256_SHA256');
    for (const { fields } of key.versions) fields['protectionLevel'] = level;
    return { kind: 'gcp', endpoint: kms.endpoint, ref: `gcpkms://${key.name}` };
  });
  const start = (...keys: { name: string; kind: string }[]) =>
    startServiceWorld({ keys, plainHttpHosts: [], settings: { fips: true } });

  await assert.rejects(
    start({ name: 'soft', ...software } as never, { name: 'hard', ...hardware } as never),
    (caught) => {
      assert.ok(caught instanceof CountersignError);
      assert.equal(caught.reason, 'FIPS_REFUSED');
      assert.match(caught.message, /soft: .*states software, and fips-140-2-l2 is needed/);
      assert.doesNotMatch(caught.message, /hard:/);
      return true;
    },
  );

  const world = await start({ name: 'hard', ...hardware } as never);
  t.after(() => world.stop());
  const content = Buffer.from('a release').toString('base64');
  const { key } = await world.ok<Signed>('/v1/sign', { subject: { blob: { name: 'blob', content } }, key: 'hard' });
  assert.equal(key.algorithm, 'ecdsa-p256-sha256');
});

test('a key file is refused by its settings', async () => {
  await assert.rejects(
    startServiceWorld({
      keys: [{ name: 'file', kind: 'local', generate: 'ecdsa-p256-sha256' }],
      plainHttpHosts: [],
      settings: { fips: true },
    }),
    /keys in files or memory are not allowed with fips/,
  );
});

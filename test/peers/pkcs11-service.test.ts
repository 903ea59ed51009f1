// A service whose key is in a PKCS#11 token (SoftHSM) signs an image; cosign verifies it.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignVerify } from './cosign.ts';
import { pushTestImage } from './image.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startGgcrRegistry } from './registries.ts';
import { library, pin, type Softhsm, startSofthsm } from './softhsm.ts';

const needed = ['softhsm2-util', 'pkcs11js', 'cosign-3.1.1', 'ggcr-registry', 'crane'] as const;

describe('a key in a PKCS#11 token', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('pkcs11-service');
  let hsm: Softhsm;
  let registry: Registry;
  let world: ServiceWorld;

  before(async () => {
    requirePeers(...needed);
    hsm = startSofthsm();
    await hsm.initToken('release');
    const ec = hsm.createKey('release', 'release', 'P-256');
    hsm.createKey('release', 'rsa', 'RSA-3072');
    hsm.createKey('release', 'stranger', 'P-256');
    registry = await startGgcrRegistry();
    const pinFile = join(folder, 'pin');
    writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
    const query = `module-path=${library()}&pin-source=file:${pinFile}`;
    const id = ec.id.replace(/../g, '%$&');
    const byFields = { kind: 'pkcs11', module: library(), token: 'release', pinFile };
    world = await startServiceWorld({
      plainHttpHosts: [registry.host],
      keys: [
        { name: 'release', kind: 'pkcs11', ref: `pkcs11:token=release;object=release;id=${id}?${query}` },
        { name: 'rsa', ...byFields, label: 'rsa' },
        { name: 'stranger', ...byFields, label: 'stranger' },
      ],
    });
  });
  after(async () => {
    await world?.stop();
    await registry?.stop();
  });

  for (const name of ['release', 'rsa']) {
    it(`cosign verifies what the service signed with ${name}, and so does the service`, async () => {
      const { ref } = await pushTestImage(registry, `pkcs11/${name}:v1`);
      const formats = ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'];
      const signed = await world.ok<Signed>('/v1/sign', { subject: { image: ref }, key: name, formats });
      assert.match(signed.key.version, /^[0-9a-f]{64}$/);
      const files = { right: join(folder, `${name}.pub`), wrong: join(folder, 'stranger.pub') };
      writeFileSync(files.right, await world.publicKey(name));
      writeFileSync(files.wrong, await world.publicKey('stranger'));
      for (const legacy of [false, true]) {
        succeeded(await cosignVerify({ key: files.right, ref, legacy }));
        assert.notEqual((await cosignVerify({ key: files.wrong, ref, legacy })).code, 0);
      }
      const verify = (key: string) => world.ok<VerdictJson>('/v1/verify', { subject: { image: ref }, keys: [{ key }] });
      const verdict = await verify(name);
      assert.equal(verdict.signatures.filter(({ counts }) => counts).length, 2, verdict.summary);
      assert.equal((await verify('stranger')).verified, false);
    });
  }
});

// The service and cosign beside each other with the same key in Vault, and what becomes of signatures when it is rotated.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type ServiceWorld, type Signed, startServiceWorld, type VerdictJson } from '../service-world.ts';
import { cosignAttest, cosignSign, cosignSignBlob, cosignVerify, cosignVerifyBlob } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { requirePeers, skipWithout, succeeded, temporaryFolder } from './peer.ts';
import { type Registry, startGgcrRegistry } from './registries.ts';
import { startVault, type Vault } from './vault.ts';

const needed = ['vault', 'cosign-3.1.3', 'cosign-3.1.1', 'ggcr-registry', 'crane'] as const;
const types = ['ecdsa-p256', 'rsa-2048'] as const;
const predicateType = 'https://example.com/predicate/v1';
const predicate = '{"by":"a test"}';
const both = ['FORMAT_SIMPLE_SIGNING', 'FORMAT_BUNDLE'];

type Verdict = VerdictJson & { readonly signatures: readonly { readonly key: string }[] };

describe('a key in Vault that the service and cosign share', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('vault-service');
  const path = (name: string): string => join(folder, name);
  let vault: Vault;
  let registry: Registry;
  let world: ServiceWorld;

  const start = (keys: readonly string[]): Promise<ServiceWorld> =>
    startServiceWorld({
      plainHttpHosts: [registry.host],
      keys: keys.map((name) => ({
        name,
        kind: 'vault',
        address: vault.addr,
        ref: `hashivault://${name.replace('-pss', '')}`,
        login: { method: 'token', token: vault.token },
        ...(name.endsWith('-pss') ? { rsaPadding: 'pss' } : {}),
      })),
    });
  const verify = (where: ServiceWorld, subject: object, key: object, more: object = {}): Promise<Verdict> =>
    where.ok<Verdict>('/v1/verify', { subject, keys: [key], ...more });

  before(async () => {
    requirePeers(...needed);
    [vault, registry] = await Promise.all([startVault(), startGgcrRegistry()]);
    for (const type of [...types, 'stranger'] as const) {
      await vault.createKey(type, type === 'stranger' ? 'ecdsa-p256' : type);
    }
    writeFileSync(path('blob'), 'a blob');
    writeFileSync(path('other'), 'another blob');
    writeFileSync(path('predicate'), predicate);
    world = await start([...types, 'rsa-2048-pss', 'stranger']);
  });
  after(async () => {
    await world?.stop();
    await Promise.all([vault?.stop(), registry?.stop()]);
  });

  const subjectBlob = { blob: { name: 'blob', content: Buffer.from('a blob').toString('base64') } };

  /** Signed in every form by the service, as cosign judges it with a key in Vault or in a file: exit statuses. */
  const judgedByCosign = async (name: string, key: string, by: readonly string[]): Promise<readonly number[][]> => {
    const image = await pushTestImage(registry, `${name}/ours:v1`);
    const subject = { image: image.ref };
    await world.ok<Signed>('/v1/sign', { subject, key, formats: both });
    await world.ok<Signed>('/v1/attest', {
      subject,
      key,
      formats: ['FORMAT_DSSE', 'FORMAT_BUNDLE'],
      predicateType,
      predicate: Buffer.from(predicate).toString('base64'),
    });
    const signed = await world.ok<Signed>('/v1/sign', { subject: subjectBlob, key });
    const signature = path(`${name}.bundle`);
    writeFileSync(signature, Buffer.from(signed.outputs[0]?.content ?? '', 'base64'));
    const codes: number[][] = [];
    for (const trusted of by) {
      const call = { version: '3.1.3', key: trusted, env: vault.env } as const;
      const judged = [
        ...[false, true].flatMap((legacy) =>
          [undefined, predicateType].map((attestationType) =>
            cosignVerify({ ...call, ref: image.ref, legacy, attestationType }),
          ),
        ),
        cosignVerifyBlob({ ...call, signature, blob: path('blob') }),
      ];
      codes.push((await Promise.all(judged)).map(({ code }) => code));
      assert.notEqual((await cosignVerifyBlob({ ...call, signature, blob: path('other') })).code, 0);
    }
    return codes;
  };
  const accepts = (codes: readonly number[] | undefined): void => assert.deepEqual(codes, [0, 0, 0, 0, 0]);
  const refuses = (codes: readonly number[] | undefined): void =>
    assert.ok(codes?.length === 5 && codes.every((code) => code !== 0), `${codes}`);

  it('ecdsa-p256: cosign verifies with the key in Vault what the service signed', async () => {
    const by = ['hashivault://ecdsa-p256', 'hashivault://stranger'];
    const [ours, stranger] = await judgedByCosign('p256', 'ecdsa-p256', by);
    accepts(ours);
    refuses(stranger);
  });

  it('rsa-2048: cosign verifies it with the public key, and with the key in Vault only RSASSA-PSS', async () => {
    // cosign's hashivault:// signs PKCS#1 v1.5 and names no padding when it verifies, which Vault takes for PSS: it refuses
    // its own signatures as it does ours.
    const image = await pushTestImage(registry, 'rsa/cosigns-own:v1');
    const own = {
      version: '3.1.3',
      key: 'hashivault://rsa-2048',
      ref: image.ref,
      env: vault.env,
      legacy: true,
    } as const;
    succeeded(await cosignSign(own));
    assert.match((await cosignVerify(own)).stderr, /failed vault verification/);

    writeFileSync(path('rsa.pub'), await vault.publicKey('rsa-2048'));
    const by = [path('rsa.pub'), 'hashivault://rsa-2048'];
    const [pkcs1ByFile, pkcs1ByVault] = await judgedByCosign('rsa', 'rsa-2048', by);
    accepts(pkcs1ByFile);
    refuses(pkcs1ByVault);
    const [pssByFile, pssByVault] = await judgedByCosign('rsa-pss', 'rsa-2048-pss', by);
    refuses(pssByFile);
    accepts(pssByVault);
  });

  for (const key of types) {
    const kms = { version: '3.1.3', key: `hashivault://${key}` } as const;

    it(`${key}: the service verifies what cosign signed with the key in Vault`, async () => {
      const image = await pushTestImage(registry, `${key}/theirs:v1`);
      const subject = { image: image.ref };
      for (const legacy of [false, true]) {
        const call = { ...kms, ref: image.ref, legacy, env: vault.env };
        succeeded(await cosignSign(call));
        succeeded(await cosignAttest({ ...call, type: predicateType, predicate: path('predicate') }));
      }
      for (const [more, what] of [
        [{}, 'signatures'],
        [{ predicateType }, 'attestations'],
      ] as const) {
        for (const trusted of [{ key }, { pem: await world.publicKey(key) }]) {
          const verdict = await verify(world, subject, trusted, more);
          assert.equal(verdict.signatures.filter(({ counts }) => counts).length, 2, `${what}: ${verdict.summary}`);
        }
        assert.equal((await verify(world, subject, { key: 'stranger' }, more)).verified, false);
      }
      const output = path(`${key}.theirs`);
      for (const legacy of [false, true]) {
        succeeded(await cosignSignBlob({ ...kms, blob: path('blob'), output, legacy, env: vault.env }));
        const signatures = [readFileSync(output).toString('base64')];
        assert.equal((await verify(world, subjectBlob, { key }, { signatures })).verified, true);
        assert.equal((await verify(world, subjectBlob, { key: 'stranger' }, { signatures })).verified, false);
      }
    });
  }

  it('rotated: the pinned version signs until the restart, the new one after it, and both verify', async () => {
    const first = await vault.createKey('rotated', 'ecdsa-p256');
    const [image, later] = [
      await pushTestImage(registry, 'rotated/image:v1'),
      await pushTestImage(registry, 'rotated/later:v1'),
    ];
    const sign = async (where: ServiceWorld, what: TestImage, mode = 'MODE_ATTACH'): Promise<string> => {
      const request = {
        subject: { image: what.ref },
        key: 'rotated',
        formats: both,
        storage: { mode },
        ifAbsent: false,
      };
      return (await where.ok<Signed>('/v1/sign', request)).key.version;
    };
    const counted = async (where: ServiceWorld, what: TestImage, key: object): Promise<number> =>
      (await verify(where, { image: what.ref }, key)).signatures.filter(({ counts }) => counts).length;
    const byCosign = async (pem: string, what: TestImage): Promise<readonly number[]> => {
      const key = path('rotated.pub');
      writeFileSync(key, pem);
      const judged = [false, true].map((legacy) => cosignVerify({ key, ref: what.ref, legacy }));
      return (await Promise.all(judged)).map(({ code }) => code);
    };
    const configured = { key: 'rotated' };

    const running = await start(['rotated']);
    try {
      assert.equal(await sign(running, image), '1');
      const versions = await Promise.all(
        Array.from({ length: 20 }, async (_, at) => {
          if (at === 10) assert.equal((await vault.request('POST', 'transit/keys/rotated/rotate')).status, 200);
          return sign(running, image, 'MODE_RETURN_ONLY');
        }),
      );
      const second = await vault.publicKey('rotated');
      assert.notEqual(second, first);
      assert.deepEqual(new Set(versions), new Set(['1']));
      assert.equal(await sign(running, image), '1', 'after the rotation as well');
      assert.equal(await counted(running, image, configured), 4);
      assert.deepEqual(await byCosign(first, image), [0, 0]);
      assert.ok((await byCosign(second, image)).every((code) => code !== 0));

      const restarted = await start(['rotated']);
      try {
        assert.equal(await sign(restarted, later), '2');
        assert.deepEqual(await byCosign(second, later), [0, 0]);
        assert.ok((await byCosign(first, later)).every((code) => code !== 0));
        assert.equal(await sign(restarted, image), '2');
        assert.equal(await counted(restarted, image, configured), 6, 'old and new ones');
        assert.equal(await counted(restarted, image, { pem: first }), 4);
        assert.equal(await counted(restarted, image, { pem: second }), 2);
        assert.deepEqual(await byCosign(first, image), [0, 0]);
        assert.deepEqual(await byCosign(second, image), [0, 0]);
        assert.equal(await counted(restarted, later, configured), 2);
      } finally {
        await restarted.stop();
      }
    } finally {
      await running.stop();
    }
  });
});

// Everything that Sign and Attest can make, judged by the real cosign: accepted as it is, refused with one byte changed.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openContext } from '../../src/model/context.ts';
import { createHttpClient } from '../../src/net/http.ts';
import { parseReference } from '../../src/registry/reference.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { type Output, type ServiceWorld, type Signed, startServiceWorld } from '../service-world.ts';
import { sameImage, sealedOf } from './changed.ts';
import { cosignVerify, cosignVerifyBlob } from './cosign.ts';
import { pushTestImage, type TestImage } from './image.ts';
import { accepted, byOpenssl, refused, signatureIn, text } from './judge.ts';
import { type Finished, requirePeers, run, skipWithout, temporaryFolder } from './peer.ts';
import { type Registry, startDockerRegistry, startGgcrRegistry } from './registries.ts';
import { changeBase64Member, changeByte, changePayload } from './tamper.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

type Row = {
  /** Of the key; default: its type in Vault. */
  readonly name?: string;
  readonly vault: VaultKeyType;
  readonly local: string;
  /** What cosign must be told: it verifies with SHA-256 unless a flag names another hash. */
  readonly hash?: 'sha384' | 'sha512';
};

const rows: readonly Row[] = [
  { vault: 'ecdsa-p256', local: 'ecdsa-p256-sha256' },
  { vault: 'ecdsa-p384', local: 'ecdsa-p384-sha384', hash: 'sha384' },
  { vault: 'ecdsa-p521', local: 'ecdsa-p521-sha512', hash: 'sha512' },
  { vault: 'rsa-2048', local: 'rsa-pkcs1v15-2048-sha256' },
  { vault: 'rsa-3072', local: 'rsa-pkcs1v15-3072-sha256' },
  { vault: 'rsa-4096', local: 'rsa-pkcs1v15-4096-sha256' },
  { vault: 'ed25519', local: 'ed25519' },
  { name: 'rsa-2048-sha512', vault: 'rsa-2048', local: 'rsa-pkcs1v15-2048-sha512', hash: 'sha512' },
];

const nameOf = (row: Row): string => row.name ?? row.vault;

const provenance = {
  buildDefinition: { buildType: 'https://example.com/build/v1', externalParameters: { ref: 'main' } },
  runDetails: { builder: { id: 'https://example.com/builder' } },
};
const predicateType = 'https://slsa.dev/provenance/v1';
const needed = [
  'cosign-3.1.1',
  'cosign-2.5.0',
  'vault',
  'ggcr-registry',
  'docker-registry',
  'crane',
  'sigstore-verify',
] as const;

describe('signatures and attestations, by cosign', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('matrix');
  let vault: Vault;
  let referrers: Registry;
  let tags: Registry;
  let world: ServiceWorld;
  let http: ReturnType<typeof createHttpClient>;

  before(async () => {
    requirePeers(...needed);
    [vault, referrers, tags] = await Promise.all([startVault(), startGgcrRegistry(), startDockerRegistry()]);
    for (const type of new Set(rows.map((row) => row.vault))) await vault.createKey(type, type);
    const plainHttpHosts = [referrers.host, tags.host];
    http = createHttpClient({ plainHttpHosts });
    world = await startServiceWorld({
      plainHttpHosts,
      keys: rows.flatMap((row) => [
        { name: `local-${nameOf(row)}`, kind: 'local', generate: row.local },
        {
          name: `vault-${nameOf(row)}`,
          kind: 'vault',
          address: vault.addr,
          key: row.vault,
          login: { method: 'token', token: vault.token },
          ...(row.vault.startsWith('rsa') ? { rsaPadding: 'pkcs1v15', rsaHash: row.hash ?? 'sha256' } : {}),
        },
      ]),
    });
  });

  after(async () => {
    await world?.stop();
    await http?.close();
    await Promise.all([vault?.stop(), referrers?.stop(), tags?.stop()]);
  });

  /** Attaches a changed signature to an image as the service attaches a good one. */
  const attachChanged = async (image: TestImage, output: Output, content: Buffer, signature: Buffer): Promise<void> => {
    const registry = createRegistry({
      http,
      credentials: () => undefined,
      plainHttpHosts: [referrers.host, tags.host],
      tries: 1,
    });
    const owned = openContext('tamper', 10_000);
    try {
      const resolved = await registry.resolve(parseReference(image.ref), owned.context);
      await registry.attach(resolved, sealedOf(output, content, signature, predicateType), undefined, owned.context);
    } finally {
      owned.dispose();
    }
  };

  for (const backend of ['local', 'vault'] as const) {
    for (const row of rows) {
      const key = `${backend}-${nameOf(row)}`;
      describe(key, () => {
        const publicKey = join(folder, `${key}.pub`);
        const { hash } = row;

        before(async () => writeFileSync(publicKey, await world.publicKey(key)));

        const make = async (
          verb: 'sign' | 'attest',
          image: TestImage,
          format: string,
          mode = 'MODE_ATTACH',
        ): Promise<Output> => {
          const request = { subject: { image: image.ref }, key, formats: [format], storage: { mode } };
          const attestation = { predicateType, predicate: Buffer.from(JSON.stringify(provenance)).toString('base64') };
          const signed = await world.ok<Signed>(
            `/v1/${verb}`,
            verb === 'sign' ? request : { ...request, ...attestation },
          );
          assert.equal(signed.digest, image.digest);
          const [output] = signed.outputs;
          assert.ok(output);
          assert.equal(output.stored !== undefined, mode === 'MODE_ATTACH');
          return output;
        };

        it('.sig: cosign 3.1.1 and 2.5.0 accept it, and refuse a changed payload and a changed signature', async () => {
          const good = await pushTestImage(referrers, `${key}/sig:v1`);
          const output = await make('sign', good, 'FORMAT_SIMPLE_SIGNING');
          const bytes = Buffer.from(output.content, 'base64');
          const signature = Buffer.from(output.signature, 'base64');
          const payload = await pushTestImage(referrers, `${key}/sig-payload:v1`);
          const bit = await pushTestImage(referrers, `${key}/sig-signature:v1`);
          await attachChanged(
            await sameImage(payload, good, referrers),
            output,
            Buffer.from(changePayload(bytes.toString())),
            signature,
          );
          await attachChanged(await sameImage(bit, good, referrers), output, bytes, changeByte(signature));
          for (const version of ['3.1.1', '2.5.0'] as const) {
            const verify = (ref: string): Promise<Finished> =>
              cosignVerify({ version, key: publicKey, ref, hash, legacy: true });
            accepted(await verify(good.ref), `cosign ${version} of a .sig by ${key}`);
            refused(await verify(`${payload.repository}@${good.digest}`), `a changed payload by ${key}`);
            refused(await verify(`${bit.repository}@${good.digest}`), `a changed signature by ${key}`);
          }
        });

        it('.att: cosign 3.1.1 and 2.5.0 accept it, and refuse a changed payload', async () => {
          const good = await pushTestImage(referrers, `${key}/att:v1`);
          const output = await make('attest', good, 'FORMAT_DSSE');
          const bad = await pushTestImage(referrers, `${key}/att-bad:v1`);
          const changed = Buffer.from(changeBase64Member(text(output), 'sig'));
          await attachChanged(
            await sameImage(bad, good, referrers),
            output,
            changed,
            Buffer.from(output.signature, 'base64'),
          );
          for (const version of ['3.1.1', '2.5.0'] as const) {
            if (version === '2.5.0' && hash !== undefined) {
              // It cannot be told: "unknown flag: --signature-digest-algorithm" for attestations. openssl judges instead.
              accepted(
                await byOpenssl(publicKey, hash, text(output), output.signature),
                `openssl of an .att by ${key}`,
              );
              refused(
                await byOpenssl(publicKey, hash, changed.toString(), signatureIn(changed)),
                `a changed .att by ${key}`,
              );
              continue;
            }
            const verify = (ref: string): Promise<Finished> =>
              cosignVerify({
                version,
                key: publicKey,
                ref,
                hash,
                attestationType: 'slsaprovenance1',
                legacy: true,
              });
            accepted(await verify(good.ref), `cosign ${version} of an .att by ${key}`);
            refused(await verify(`${bad.repository}@${good.digest}`), `a changed .att by ${key}`);
          }
        });

        for (const [layout, registryOf] of [
          ['referrer', () => referrers],
          ['fallback tag', () => tags],
        ] as const) {
          it(`bundles as ${layout}: signature and attestation accepted, changed ones refused`, async () => {
            const registry = registryOf();
            const expected = layout === 'referrer' ? 'LAYOUT_REFERRER' : 'LAYOUT_FALLBACK_TAG';
            for (const [verb, attestationType] of [
              ['sign', undefined],
              ['attest', 'slsaprovenance1'],
            ] as const) {
              const good = await pushTestImage(registry, `${key}/${verb}:v1`);
              const output = await make(verb, good, 'FORMAT_BUNDLE');
              assert.equal(output.stored?.layout, expected);
              for (const member of ['payload', 'sig']) {
                const bad = await sameImage(
                  await pushTestImage(registry, `${key}/${verb}-${member}:v1`),
                  good,
                  registry,
                );
                const changed = Buffer.from(changeBase64Member(text(output), member));
                await attachChanged(bad, output, changed, Buffer.from(output.signature, 'base64'));
                refused(
                  await cosignVerify({ key: publicKey, ref: bad.ref, hash, attestationType }),
                  `a bundle (${verb}) with a changed ${member} by ${key}`,
                );
              }
              const verdict = await cosignVerify({ key: publicKey, ref: good.ref, hash, attestationType });
              accepted(verdict, `cosign 3.1.1 of a bundle (${verb}) by ${key}`);
            }
          });
        }

        it('blob bundle: cosign 3.1.1 and sigstore-go accept it, and refuse a changed blob and a changed signature', async () => {
          const blob = Buffer.from(`a blob for ${key}\n`);
          const path = (name: string): string => join(folder, `${key}.${name}`);
          writeFileSync(path('blob'), blob);
          writeFileSync(path('changed-blob'), changeByte(blob));
          const signed = await world.ok<Signed>('/v1/sign', {
            subject: { blob: { name: 'blob', content: blob.toString('base64') } },
            key,
          });
          const [output] = signed.outputs;
          assert.ok(output);
          writeFileSync(path('bundle'), text(output));
          writeFileSync(path('changed-bundle'), changeBase64Member(text(output), 'signature'));
          const judges = [
            (signature: string, of: string) =>
              cosignVerifyBlob({ key: publicKey, signature: path(signature), blob: path(of), hash }),
            (signature: string, of: string) =>
              run('sigstore-verify', [
                ...['--bundle', path(signature), '--key', publicKey, '--artifact', path(of)],
                // Of an RSA key sigstore-go takes SHA-256 for granted.
                ...(row.name !== undefined && hash !== undefined ? ['--hash', hash] : []),
              ]),
          ];
          for (const judge of judges) {
            accepted(await judge('bundle', 'blob'), `a blob bundle by ${key}`);
            refused(await judge('changed-bundle', 'blob'), `a changed blob bundle by ${key}`);
            refused(await judge('bundle', 'changed-blob'), `a blob bundle over another blob by ${key}`);
          }
        });
      });
    }
  }
});

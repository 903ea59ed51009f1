// Blobs that the service signed and attested, by digest and by content, as sigstore-go, cosign and openssl judge them.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Output, type ServiceWorld, type Signed, startServiceWorld } from '../service-world.ts';
import { cosignVerifyBlob } from './cosign.ts';
import { type Finished, requirePeers, run, skipWithout, temporaryFolder } from './peer.ts';
import { changeBase64Member, changeByte } from './tamper.ts';

type Row = {
  readonly algorithm: string;
  /** What cosign must be told: it verifies with SHA-256 unless a flag names another hash. */
  readonly hash?: 'sha384' | 'sha512';
  /** Can it sign a SHA-256 digest without the content? */
  readonly byDigest: boolean;
};
const rows: readonly Row[] = [
  { algorithm: 'ecdsa-p256-sha256', byDigest: true },
  { algorithm: 'ecdsa-p384-sha384', hash: 'sha384', byDigest: false },
  { algorithm: 'ecdsa-p521-sha512', hash: 'sha512', byDigest: false },
  { algorithm: 'rsa-pkcs1v15-2048-sha256', byDigest: true },
  { algorithm: 'rsa-pkcs1v15-3072-sha256', byDigest: true },
  { algorithm: 'rsa-pkcs1v15-4096-sha256', byDigest: true },
  { algorithm: 'ed25519', byDigest: false },
];
const predicateType = 'https://example.com/predicate/v1';
const needed = ['cosign-3.1.1', 'cosign-2.5.0', 'sigstore-verify', 'openssl'] as const;
const mebibyte = 1024 * 1024;

describe('blobs, by sigstore-go, cosign and openssl', { skip: skipWithout(...needed) }, () => {
  const folder = temporaryFolder('conformance');
  const path = (name: string): string => join(folder, name);
  /** Larger than any request, so its digest alone is sent. */
  const large = Buffer.alloc(9 * mebibyte, 'a large blob ');
  const digest = digestOf(large);
  const blobDigest = { name: 'acme/large.tar', digest };
  let world: ServiceWorld;

  before(async () => {
    requirePeers(...needed);
    writeFileSync(path('large'), large);
    writeFileSync(path('other'), changeByte(large));
    world = await startServiceWorld({
      plainHttpHosts: [],
      keys: rows.map(({ algorithm }) => ({ name: algorithm, kind: 'local', generate: algorithm })),
    });
    for (const { algorithm } of rows) writeFileSync(path(`${algorithm}.pub`), await world.publicKey(algorithm));
  });
  after(() => world?.stop());

  const bySigstoreGo = (key: string, bundle: string, ...subject: readonly string[]): Promise<Finished> =>
    run('sigstore-verify', ['--bundle', bundle, '--key', path(`${key}.pub`), ...subject]);
  const only = ({ outputs }: Signed): Output => {
    assert.equal(outputs.length, 1);
    return outputs[0] ?? assert.fail();
  };

  for (const { algorithm: key, hash, byDigest } of rows) {
    const publicKey = path(`${key}.pub`);

    it(`${key}: a digest ${byDigest ? 'is signed and accepted' : 'is refused, and the fix is told'}`, async () => {
      const request = { subject: { blobDigest }, key };
      if (!byDigest) {
        const { status, body } = await world.call<{ readonly reason: string; readonly detail: string }>(
          '/v1/sign',
          request,
        );
        assert.deepEqual([status, body.reason], [400, 'DIGEST_NOT_SUPPORTED']);
        assert.match(body.detail, /send .*content/i);
        return;
      }
      const signed = await world.ok<Signed>('/v1/sign', request);
      assert.equal(signed.digest, digest);
      const output = only(signed);
      const [bundle, signature] = [path(`${key}.digest-bundle`), path(`${key}.digest-signature`)];
      writeFileSync(bundle, Buffer.from(output.content, 'base64'));
      writeFileSync(signature, output.signature);
      writeFileSync(`${signature}.raw`, Buffer.from(output.signature, 'base64'));
      for (const [file, judged] of [
        ['large', accepted],
        ['other', refused],
      ] as const) {
        const blob = path(file);
        const subject = `--digest=${digestOf(file === 'large' ? large : changeByte(large))}`;
        judged(await bySigstoreGo(key, bundle, '--artifact', blob), 'sigstore-go of a file');
        judged(await bySigstoreGo(key, bundle, subject), 'sigstore-go of a digest');
        judged(await cosignVerifyBlob({ key: publicKey, blob, signature: bundle }), 'cosign of a bundle');
        for (const version of ['3.1.1', '2.5.0'] as const) {
          const bare = { version, key: publicKey, blob, signature, legacy: true };
          judged(await cosignVerifyBlob(bare), `cosign ${version} of a bare signature`);
        }
        const openssl = ['dgst', '-sha256', '-verify', publicKey, '-signature', `${signature}.raw`, blob];
        judged(await run('openssl', openssl), 'openssl');
      }
    });

    it(`${key}: an attestation about a digest is accepted, and refused for another`, async () => {
      const signed = await world.ok<Signed>('/v1/attest', {
        subject: { blobDigest },
        key,
        predicateType,
        predicate: Buffer.from('{"by":"a test"}').toString('base64'),
      });
      const bundle = path(`${key}.attestation`);
      const content = Buffer.from(only(signed).content, 'base64');
      writeFileSync(bundle, content);
      writeFileSync(`${bundle}.changed`, changeBase64Member(content.toString(), 'payload'));
      const byCosign = (file: string, attestationType = predicateType, signature = bundle): Promise<Finished> =>
        cosignVerifyBlob({ key: publicKey, blob: path(file), signature, attestationType, hash });
      const sigstoreGo = await bySigstoreGo(key, bundle, '--digest', digest);
      accepted(sigstoreGo, 'sigstore-go');
      assert.equal(sigstoreGo.stdout, `verified: attestation of ${predicateType}\n`);
      accepted(await byCosign('large'), 'cosign');
      refused(await bySigstoreGo(key, bundle, '--artifact', path('other')), 'sigstore-go of another blob');
      refused(await byCosign('other'), 'cosign of another blob');
      refused(await byCosign('large', 'https://example.com/other'), 'cosign of another type');
      refused(await byCosign('large', predicateType, `${bundle}.changed`), 'cosign of a changed statement');
      refused(await bySigstoreGo(key, `${bundle}.changed`, '--digest', digest), 'sigstore-go of a changed statement');
    });

    it(`${key}: whole blobs from empty to the largest`, async () => {
      for (const size of [0, 1, 2 * mebibyte]) {
        const content = Buffer.alloc(size, 'content ');
        const [blob, bundle] = [path(`${key}.blob-${size}`), path(`${key}.bundle-${size}`)];
        const subject = { blob: { name: 'acme/blob', content: content.toString('base64') } };
        writeFileSync(blob, content);
        writeFileSync(
          bundle,
          Buffer.from(only(await world.ok<Signed>('/v1/sign', { subject, key })).content, 'base64'),
        );
        accepted(await bySigstoreGo(key, bundle, '--artifact', blob), `sigstore-go of ${size} bytes`);
        accepted(await cosignVerifyBlob({ key: publicKey, blob, signature: bundle, hash }), `cosign of ${size} bytes`);
        refused(await bySigstoreGo(key, bundle, '--artifact', path('other')), 'sigstore-go of another blob');
      }
    });
  }
});

function digestOf(content: Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

const accepted = (finished: Finished, what: string): void =>
  assert.equal(finished.code, 0, `${what} was refused: ${finished.stderr}`);

/** 1: a judge that could not do its work ends with another status. */
const refused = (finished: Finished, what: string): void =>
  assert.equal(finished.code, 1, `${what} was accepted or not judged: ${finished.stdout}${finished.stderr}`);

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';
import { startVerifyingService, type VerifyingService } from './verifying-service.ts';

describe('the cases with managed keys', { skip: skipWithoutVectors }, () => {
  const client = join(import.meta.dirname, 'sigstore');
  const folder = vectorsPath('01-sigstore-conformance', 'bundle-verify');
  const artifact = join(folder, 'a.txt');
  const digest = `sha256:${createHash('sha256').update(readFileSync(artifact)).digest('hex')}`;
  const { cases } = JSON.parse(readFileSync(vectorsPath('01-sigstore-conformance', 'EXPECTED.json'), 'utf8')) as {
    readonly cases: readonly { readonly case: string; readonly expected: string }[];
  };

  let service: VerifyingService;
  before(async () => {
    service = await startVerifyingService();
  });
  after(() => service?.stop());

  const run = async (...args: readonly string[]): Promise<{ readonly status: number; readonly said: string }> => {
    const env = {
      ...process.env,
      COUNTERSIGN_URL: service.url,
      COUNTERSIGN_TOKEN: await service.token(),
    };
    return new Promise((resolve) => {
      execFile(client, args, { env }, (error, _stdout, stderr) =>
        resolve({ status: error === null ? 0 : Number(error.code), said: stderr }),
      );
    });
  };

  /** As the harness calls it. */
  const verify = (name: string, key: string, subject: string) => {
    const root = join(folder, name, 'trusted_root.json');
    return run(
      'verify-bundle',
      '--bundle',
      join(folder, name, 'bundle.sigstore.json'),
      '--key',
      key,
      ...(existsSync(root) ? ['--trusted-root', root] : []),
      subject,
    );
  };

  const withKey = cases.filter(({ case: name }) => existsSync(join(folder, name, 'key.pub')));
  for (const { case: name, expected } of withKey) {
    for (const subject of [artifact, digest]) {
      test(`${name}, by ${subject === digest ? 'digest' : 'file'}: ${expected}`, async () => {
        const { status, said } = await verify(name, join(folder, name, 'key.pub'), subject);
        assert.equal(status, expected === 'PASS' ? 0 : 1, said);
      });
    }
  }

  test('the managed-key cases were all there', () => {
    const named = cases.filter(({ case: name }) => name.startsWith('managed-key')).map(({ case: name }) => name);
    // managed-key-no-key_fail has no key: the harness asks for an identity then.
    assert.deepEqual(
      withKey.map(({ case: name }) => name),
      named.filter((name) => name !== 'managed-key-no-key_fail'),
    );
  });

  test('managed-key-no-key_fail: asked for an identity, it is not accepted', async () => {
    const bundle = join(folder, 'managed-key-no-key_fail', 'bundle.sigstore.json');
    const { status } = await run(
      'verify-bundle',
      '--bundle',
      bundle,
      '--certificate-identity',
      'https://example.com/x',
      '--certificate-oidc-issuer',
      'https://issuer.example.com',
      artifact,
    );
    assert.notEqual(status, 0);
  });

  test('a valid key that is another one: refused, by file and by digest', async () => {
    const key = vectorsPath('02-bundles', 'containers-image', 'fixtures', 'cosign.pub');
    for (const subject of [artifact, digest]) {
      const { status, said } = await verify('managed-key-happy-path', key, subject);
      assert.equal(status, 1, said);
      assert.match(said, /WRONG_KEY/);
    }
  });

  test('every case whose bundle has a certificate is refused by key', async () => {
    const key = vectorsPath('02-bundles', 'containers-image', 'fixtures', 'cosign.pub');
    const { status, said } = await verify('happy-path-v0.3', key, artifact);
    assert.equal(status, 1, said);
    assert.match(said, /WRONG_MATERIAL/);
  });

  test('another artifact: refused', async () => {
    const name = 'managed-key-happy-path';
    const other = `sha256:${'0'.repeat(64)}`;
    for (const subject of [client, other]) {
      const { status, said } = await verify(name, join(folder, name, 'key.pub'), subject);
      assert.equal(status, 1, said);
    }
  });
});

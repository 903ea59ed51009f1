// Keys in a real Vault, and key files of the real cosign: the same contract as for every other key, then Vault's own bad days.
import assert from 'node:assert/strict';
import { generateKeyPairSync, sign as signRaw } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { algorithms } from '../../src/keys/algorithms.ts';
import { type Keyring, openKeyring } from '../../src/keys/keyring.ts';
import { parsePublicKeyPem, publicKeyPem } from '../../src/keys/public-key.ts';
import { keySettings } from '../../src/keys/settings.ts';
import { verifySignature } from '../../src/keys/verify-signature.ts';
import type { AlgorithmName } from '../../src/model/algorithm.ts';
import { openContext } from '../../src/model/context.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { privateKeyFor } from '../contract/keys/key-files.ts';
import { cosignSignBlob, cosignVerifyBlob, generateKeyPair, importKeyPair } from './cosign.ts';
import { skipWithout, temporaryFolder } from './peer.ts';
import { startVault, type Vault, type VaultKeyType } from './vault.ts';

const names = Object.keys(algorithms) as AlgorithmName[];
const message = { kind: 'message', message: Buffer.from('to be signed') } as const;
const policy = (key: string) =>
  `path "transit/keys/${key}" { capabilities = ["read"] } path "transit/sign/${key}/*" { capabilities = ["update"] }`;

describe('keys in Vault', { skip: skipWithout('vault') }, () => {
  let vault: Vault;
  before(async () => {
    vault = await startVault();
  });
  after(() => vault.stop());

  const must = async <Body>(method: string, path: string, body?: unknown): Promise<Body> => {
    const answer = await vault.request<Body>(method, path, body);
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const ringOf = (t: TestContext, more: object): Keyring => {
    const login = { method: 'token', token: vault.token };
    const base = { name: 'subject', kind: 'vault', address: vault.addr, login };
    const ring = openKeyring([keySettings.parse({ ...base, ...more })]);
    t.after(() => ring.close());
    return ring;
  };
  const approle = async (role: string, key: string, more: object = {}): Promise<object> => {
    await vault.request('POST', 'sys/auth/approle', { type: 'approle' });
    await must('PUT', `sys/policies/acl/${role}`, { policy: policy(key) });
    await must('POST', `auth/approle/role/${role}`, { token_policies: role, token_ttl: '1h', ...more });
    const id = await must<{ data: { role_id: string } }>('GET', `auth/approle/role/${role}/role-id`);
    const secret = await must<{ data: { secret_id: string } }>('POST', `auth/approle/role/${role}/secret-id`, {});
    return { method: 'approle', roleId: id.data.role_id, secretId: secret.data.secret_id };
  };

  for (const algorithm of names) {
    const row = algorithms[algorithm];
    keyContract({
      label: `Vault, ${algorithm}`,
      backend: 'vault',
      algorithm,
      // Vault's listener takes JSON strings of 1 MiB, and the message of an Ed25519 signature is one, in base64.
      ...(row.type === 'ed25519' ? { maxMessage: 768 * 1024 } : {}),
      open: async () => {
        const key = `contract-${algorithm}`;
        await vault.createKey(key, row.vault.type as VaultKeyType);
        const login = { method: 'token', token: vault.token };
        const padding = row.type === 'rsa' ? { rsaPadding: row.padding, rsaHash: row.hash } : {};
        const base = { name: 'subject', kind: 'vault', address: vault.addr, ref: `hashivault://${key}`, login };
        return openKeyring([keySettings.parse({ ...base, ...padding })]);
      },
    });
  }

  test('the public key is the one that Vault shows, and cosign accepts the signature', {
    skip: skipWithout('cosign-3.1.1'),
  }, async (t) => {
    const folder = temporaryFolder('vault-keys');
    const blob = join(folder, 'blob');
    writeFileSync(blob, message.message);
    for (const type of ['ecdsa-p256', 'rsa-4096'] as const) {
      const pem = await vault.createKey(`cosign-${type}`, type);
      const { signature, version } = await ringOf(t, { key: `cosign-${type}` }).sign('subject', message, testContext());
      assert.equal(publicKeyPem(version.spki).trim(), pem.trim());
      const files = { key: join(folder, 'key.pub'), signature: join(folder, 'signature') };
      writeFileSync(files.key, pem);
      writeFileSync(files.signature, Buffer.from(signature).toString('base64'));
      const accepted = await cosignVerifyBlob({ ...files, blob, legacy: true });
      assert.equal(accepted.code, 0, accepted.stderr);
      writeFileSync(join(folder, 'other'), 'something else');
      const refused = await cosignVerifyBlob({ ...files, blob: join(folder, 'other'), legacy: true });
      assert.notEqual(refused.code, 0);
    }
  });

  test('rotation: the pinned version signs on; disabled, it fails once, and the newest one takes over', async (t) => {
    await vault.createKey('rotated', 'ecdsa-p256');
    const ring = ringOf(t, { key: 'rotated' });
    await ring.sign('subject', message, testContext());
    await must('POST', 'transit/keys/rotated/rotate', {});
    const before = await ring.sign('subject', message, testContext());
    assert.equal(before.version.version, '1');
    await must('POST', 'transit/keys/rotated/config', { min_encryption_version: 2 });
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_DISABLED']);
    assert.equal((await ring.sign('subject', message, testContext())).version.version, '2');
    const { versions } = await ring.describe('subject', testContext());
    assert.deepEqual(
      versions.map(({ version, state }) => [version, state]),
      [
        ['2', 'enabled'],
        ['1', 'disabled'],
      ],
    );
    const first = versions.at(-1) ?? assert.fail();
    assert.ok(verifySignature(first, message, before.signature), 'the old version still verifies');
    const pinned = ringOf(t, { key: 'rotated', version: 1 });
    assert.equal((await rejection(pinned.sign('subject', message, testContext()))).reason, 'KEY_DISABLED');
  });

  test('an Ed25519 message beyond what the listener of Vault takes says so, untried a second time', async (t) => {
    await vault.createKey('large', 'ed25519');
    const ring = ringOf(t, { key: 'large' });
    const large = { kind: 'message', message: Buffer.alloc(768 * 1024 + 1) } as const;
    const error = await rejection(ring.sign('subject', large, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'MESSAGE_TOO_LARGE']);
  });

  test('missing keys, mounts, and keys that cannot sign', async (t) => {
    await must('POST', 'transit/keys/symmetric', { type: 'aes256-gcm96' });
    await must('POST', 'transit/keys/derived', { type: 'ed25519', derived: true });
    const reasonOf = async (more: object) =>
      (await rejection(ringOf(t, more).sign('subject', message, testContext()))).reason;
    assert.equal(await reasonOf({ key: 'absent' }), 'KEY_NOT_FOUND');
    assert.equal(await reasonOf({ key: 'absent', mount: 'elsewhere' }), 'KEY_NOT_FOUND');
    assert.equal(await reasonOf({ key: 'symmetric' }), 'KEY_UNSUPPORTED');
    assert.equal(await reasonOf({ key: 'derived' }), 'KEY_UNSUPPORTED');
  });

  test('a key that is deleted while open', async (t) => {
    await vault.createKey('deleted', 'ecdsa-p256');
    const ring = ringOf(t, { key: 'deleted' });
    await ring.sign('subject', message, testContext());
    await must('POST', 'transit/keys/deleted/config', { deletion_allowed: true });
    await must('DELETE', 'transit/keys/deleted');
    assert.equal((await rejection(ring.sign('subject', message, testContext()))).reason, 'KEY_NOT_FOUND');
  });

  test('AppRole with the least policy signs; a revoked token is replaced; a removed permission is told', async (t) => {
    await vault.createKey('least', 'ecdsa-p384');
    const ring = ringOf(t, { key: 'least', login: await approle('least', 'least') });
    await ring.sign('subject', message, testContext());
    await must('PUT', 'sys/leases/revoke-prefix/auth/approle/login', {});
    await ring.sign('subject', message, testContext());
    await must('PUT', 'sys/policies/acl/least', { policy: 'path "transit/keys/least" { capabilities = ["read"] }' });
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_ACCESS_DENIED']);
  });

  test('tokens that live two seconds, service and batch: signing goes on beyond their life', async (t) => {
    await vault.createKey('short', 'ecdsa-p256');
    const rings = await Promise.all(
      ['service', 'batch'].map(async (token_type) => {
        const login = await approle(`short-${token_type}`, 'short', {
          token_ttl: '2s',
          token_max_ttl: '3s',
          token_type,
        });
        return ringOf(t, { key: 'short', login });
      }),
    );
    const until = performance.now() + 5_000;
    let signed = 0;
    while (performance.now() < until) {
      await Promise.all(rings.map((ring) => ring.sign('subject', message, testContext())));
      signed += 1;
    }
    assert.ok(signed > 100, `${signed}`);
  });

  test('a wrong secret and a wrong token', async (t) => {
    const login = await approle('wrong', 'least');
    const reasonOf = async (more: object) => {
      const error = await rejection(ringOf(t, { key: 'least', ...more }).sign('subject', message, testContext()));
      assert.doesNotMatch([error.message, String(error.cause)].join(), /not-the-secret|not-a-token/);
      return error.reason;
    };
    assert.equal(await reasonOf({ login: { ...login, secretId: 'not-the-secret' } }), 'KEY_ACCESS_DENIED');
    assert.equal(await reasonOf({ login: { method: 'token', token: 'not-a-token' } }), 'KEY_ACCESS_DENIED');
  });

  test('JWT login, the file read at each login', async (t) => {
    const issuer = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwt = (audience: string): string => {
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
      const now = Math.floor(Date.now() / 1000);
      const claims = { iss: 'https://ci.example', sub: 'signer', aud: audience, iat: now, exp: now + 300 };
      const signed = `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`;
      const key = { key: issuer.privateKey, dsaEncoding: 'ieee-p1363' } as const;
      return `${signed}.${signRaw('sha256', Buffer.from(signed), key).toString('base64url')}`;
    };
    await vault.createKey('jwt', 'ecdsa-p256');
    await must('POST', 'sys/auth/ci', { type: 'jwt' });
    const pem = issuer.publicKey.export({ type: 'spki', format: 'pem' });
    await must('POST', 'auth/ci/config', { jwt_validation_pubkeys: [pem], bound_issuer: 'https://ci.example' });
    await must('PUT', 'sys/policies/acl/jwt', { policy: policy('jwt') });
    const role = { role_type: 'jwt', bound_audiences: ['vault'], user_claim: 'sub', token_policies: 'jwt' };
    await must('POST', 'auth/ci/role/signer', role);
    const tokenFile = join(temporaryFolder('jwt'), 'token');
    const login = { method: 'jwt', mount: 'ci', role: 'signer', tokenFile };
    writeFileSync(tokenFile, jwt('another audience'));
    const refused = await rejection(ringOf(t, { key: 'jwt', login }).sign('subject', message, testContext()));
    assert.equal(refused.reason, 'KEY_ACCESS_DENIED');
    assert.match(refused.message, /jwt login at auth\/ci/);
    writeFileSync(tokenFile, `${jwt('vault')}\n`);
    assert.ok(await ringOf(t, { key: 'jwt', login }).sign('subject', message, testContext()));
  });

  test('a rate limit of Vault is told as such', async (t) => {
    await vault.createKey('limited', 'ecdsa-p256');
    const ring = ringOf(t, { key: 'limited' });
    await ring.sign('subject', message, testContext());
    const quota = { path: 'transit/sign/limited/*', rate: 1, interval: '60s' };
    await must('POST', 'sys/quotas/rate-limit/limited', quota);
    await ring.sign('subject', message, testContext());
    const error = await rejection(ring.sign('subject', message, openContext('short', 500).context));
    assert.deepEqual([error.code, error.reason], ['resource_exhausted', 'KEY_THROTTLED']);
    assert.ok((error.retryAfterMs ?? 0) > 0);
    await must('DELETE', 'sys/quotas/rate-limit/limited');
  });

  test('a Vault that seals itself, and one that is gone', async (t) => {
    const own = await startVault();
    t.after(() => own.stop());
    await own.createKey('sealed', 'ecdsa-p256');
    const login = { method: 'token', token: own.token };
    const ring = ringOf(t, { address: own.addr, key: 'sealed', login });
    await ring.sign('subject', message, testContext());
    await own.request('PUT', 'sys/seal');
    const sealed = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([sealed.code, sealed.reason], ['unavailable', 'KEY_SEALED']);
    await own.stop();
    const gone = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([gone.code, gone.reason], ['unavailable', 'KEY_UNAVAILABLE']);
  });
});

describe('key files of cosign', { skip: skipWithout('cosign-3.1.1') }, () => {
  test('what generate-key-pair writes opens, signs, and cosign accepts it', async (t) => {
    const folder = temporaryFolder('cosign-key');
    const pair = await generateKeyPair(folder);
    const settings = { name: 'subject', kind: 'local', file: pair.privateKey, password: pair.password };
    const ring = openKeyring([keySettings.parse(settings)]);
    t.after(() => ring.close());
    const { signature, version } = await ring.sign('subject', message, testContext());
    assert.equal(publicKeyPem(version.spki), readFileSync(pair.publicKey, 'utf8'));
    const [blob, file] = [join(folder, 'blob'), join(folder, 'signature')];
    writeFileSync(blob, message.message);
    writeFileSync(file, Buffer.from(signature).toString('base64'));
    const accepted = await cosignVerifyBlob({ key: pair.publicKey, blob, signature: file, legacy: true });
    assert.equal(accepted.code, 0, accepted.stderr);
    const wrong = openKeyring([keySettings.parse({ ...settings, password: 'wrong' })]);
    t.after(() => wrong.close());
    assert.equal((await rejection(wrong.sign('subject', message, testContext()))).reason, 'KEY_PASSWORD_WRONG');
  });

  test('what import-key-pair writes, of each type, and what cosign signs with it', async (t) => {
    for (const name of ['ecdsa-p384-sha384', 'ecdsa-p521-sha512', 'rsa-pkcs1v15-3072-sha256', 'ed25519'] as const) {
      const folder = temporaryFolder('cosign-import');
      const pem = privateKeyFor(name).export({ type: 'pkcs8', format: 'pem' }).toString();
      const pair = await importKeyPair(folder, pem);
      const settings = { name: 'subject', kind: 'local', file: pair.privateKey, password: pair.password };
      const ring = openKeyring([keySettings.parse(settings)]);
      t.after(() => ring.close());
      const { version } = await ring.sign('subject', message, testContext());
      assert.deepEqual(parsePublicKeyPem(readFileSync(pair.publicKey, 'utf8')).algorithm, name);
      assert.equal(publicKeyPem(version.spki), readFileSync(pair.publicKey, 'utf8'));
    }
    const folder = temporaryFolder('cosign-signs');
    const pair = await generateKeyPair(folder);
    const [blob, output] = [join(folder, 'blob'), join(folder, 'signature')];
    writeFileSync(blob, message.message);
    const made = await cosignSignBlob({ key: pair.privateKey, blob, output, legacy: true });
    assert.equal(made.code, 0, made.stderr);
    const signature = Buffer.from(readFileSync(output, 'utf8'), 'base64');
    const key = parsePublicKeyPem(readFileSync(pair.publicKey, 'utf8'));
    assert.ok(verifySignature(key, message, signature));
    assert.equal(verifySignature(key, { kind: 'message', message: Buffer.from('other') }, signature), false);
  });
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ecdsaDerToRaw } from '../../src/codec/ecdsa.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import type { ProtectionLevel } from '../../src/keys/port.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { azureKey, message, opened, openedAt, ringOf, started } from './azure-world.ts';
import { azureFault, startFakeAzure } from './fake-azure.ts';
import { signDigest } from './sign-digest.ts';

for (const [kind, algorithm, rsaPadding, rsaHash] of [
  ['P-256', 'ecdsa-p256-sha256', undefined],
  ['P-384', 'ecdsa-p384-sha384', undefined],
  ['P-521', 'ecdsa-p521-sha512', undefined],
  ['RSA-2048', 'rsa-pkcs1v15-2048-sha256', undefined],
  ['RSA-3072', 'rsa-pkcs1v15-3072-sha256', 'pkcs1v15'],
  ['RSA-4096', 'rsa-pkcs1v15-4096-sha256', 'pkcs1v15'],
  ['RSA-2048', 'rsa-pss-2048-sha256', 'pss'],
  ['RSA-3072', 'rsa-pss-3072-sha256', 'pss'],
  ['RSA-4096', 'rsa-pss-4096-sha256', 'pss'],
  ['RSA-2048', 'rsa-pkcs1v15-2048-sha384', 'pkcs1v15', 'sha384'],
  ['RSA-2048', 'rsa-pss-2048-sha384', 'pss', 'sha384'],
  ['RSA-3072', 'rsa-pss-3072-sha512', 'pss', 'sha512'],
  ['RSA-4096', 'rsa-pkcs1v15-4096-sha512', undefined, 'sha512'],
] as const) {
  keyContract({
    label: `fake Azure Key Vault, ${algorithm}`,
    backend: 'azure',
    algorithm,
    protectionLevel: 'fips-140-3-l3',
    open: async () => {
      const azure = await startFakeAzure();
      const version = azure.addVersion('release', kind);
      version.hsm = true;
      version.attributes['hsmPlatform'] = '2';
      const ring = openKeyring([azureKey(azure, { ...(rsaPadding && { rsaPadding }), ...(rsaHash && { rsaHash }) })]);
      const close = async (): Promise<void> => {
        await ring.close();
        await azure.close();
      };
      return { ...ring, close };
    },
  });
}

test('one request a signature: the key is read once, when it is opened', async (t) => {
  const { azure, version, ring } = await opened(t);
  await ring.sign('subject', message, testContext());
  assert.deepEqual(
    azure.calls.map(({ operation }) => operation),
    ['challenge', 'openid', 'token', 'versions', 'get', 'challenge', 'sign'],
  );
  const before = azure.calls.length;
  for (let round = 0; round < 3; round++) {
    await ring.sign('subject', message, testContext());
    await ring.describe('subject', testContext());
  }
  assert.deepEqual(
    azure.calls.slice(before).map(({ operation }) => operation),
    ['sign', 'sign', 'sign'],
  );
  const { path, body } = azure.calls.at(-1) ?? assert.fail();
  assert.match(path, new RegExp(`^/keys/release/${version.version}/sign\\?`));
  const value = createHash('sha256').update(message.message).digest('base64url');
  assert.deepEqual(JSON.parse(body), { alg: 'ES256', value });
});

test('keys of one vault share connections and tokens', async (t) => {
  const azure = await started(t);
  const names = ['a', 'b', 'c'];
  for (const key of names) azure.addVersion(key);
  const ring = ringOf(
    t,
    names.map((key) => azureKey(azure, { key, name: key })),
  );
  await Promise.all(names.map((name) => ring.sign(name, message, testContext())));
  assert.equal(azure.count('token'), 1);
});

const hours = 3600;
const soon = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds;

test('versions: the newest usable one signs, all that are not disabled verify', async (t) => {
  const azure = await started(t);
  azure.setPageSize(2);
  const [old, disabled, expired, current, early] = [5, 4, 3, 2, 1].map((age) =>
    azure.addVersion('release', 'P-256', age * hours),
  );
  assert.ok(old && disabled && expired && current && early);
  disabled.attributes['enabled'] = false;
  const [expiry, start] = [soon(-60), soon(hours)];
  expired.attributes['exp'] = expiry;
  early.attributes['nbf'] = start;
  const ring = ringOf(t, [azureKey(azure)]);
  const { signing, versions, opaque } = await ring.describe('subject', testContext());
  assert.equal(signing.version, current.version);
  const time = (seconds: number) => new Date(seconds * 1000).toISOString();
  assert.deepEqual(
    versions.map(({ version, state, validFrom, validUntil }) => [version, state, validFrom ?? validUntil]),
    [
      [early.version, 'not-yet-valid', time(start)],
      [current.version, 'enabled', undefined],
      [expired.version, 'expired', time(expiry)],
      [old.version, 'enabled', undefined],
    ],
  );
  assert.deepEqual(
    opaque.map(({ version, state }) => [version, state]),
    [[disabled.version, 'disabled']],
  );
  assert.equal(azure.count('versions'), 3, 'pages');
  assert.equal((await ring.sign('subject', message, testContext())).version.version, current.version);
});

test('a configured version signs; one that cannot, or is not there, says so', async (t) => {
  const azure = await started(t);
  const [first] = [azure.addVersion('release', 'P-256', hours), azure.addVersion('release')];
  const pinned = ringOf(t, [azureKey(azure, { version: first.version })]);
  assert.equal((await pinned.sign('subject', message, testContext())).version.version, first.version);

  const absent = ringOf(t, [azureKey(azure, { version: '0'.repeat(32) })]);
  assert.equal((await rejection(absent.describe('subject', testContext()))).reason, 'KEY_VERSION_NOT_FOUND');

  const cases: readonly (readonly [object, string, RegExp])[] = [
    [{ enabled: false }, 'KEY_DISABLED', /enable it/],
    [{ nbf: soon(hours) }, 'KEY_NOT_YET_VALID', /activation date/],
    [{ exp: soon(-1) }, 'KEY_EXPIRED', /rotate the key/],
  ];
  for (const [attributes, reason, words] of cases) {
    const version = azure.addVersion('release', 'P-256', 2 * hours);
    Object.assign(version.attributes, attributes);
    const ring = ringOf(t, [azureKey(azure, { version: version.version })]);
    const error = await rejection(ring.describe('subject', testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', reason]);
    assert.match(error.message, words);
  }
});

test('a new version changes nothing until the pinned one signs no more', async (t) => {
  const { azure, version, ring } = await opened(t);
  version.attributes['created'] = soon(-hours);
  const versionNow = async () => (await ring.sign('subject', message, testContext())).version.version;
  assert.equal(await versionNow(), version.version);
  const next = azure.addVersion('release');
  assert.equal(await versionNow(), version.version);
  version.attributes['enabled'] = false;
  assert.equal((await rejection(versionNow())).reason, 'KEY_DISABLED');
  assert.equal(await versionNow(), next.version);
});

test('keys of other kinds and uses are not opened, each with its reason', async (t) => {
  const cases = [
    ['P-256K', {}, /P-256K \(secp256k1\) is refused by cosign/],
    ['P-256', { keyOps: ['verify'] }, /permitted operations are verify; add sign/],
    ['P-256', { keyOps: [] }, /permitted operations are none/],
  ] as const;
  for (const [kind, change, words] of cases) {
    const { azure, version, ring } = await opened(t, kind);
    Object.assign(version, change);
    const error = await rejection(ring.sign('subject', message, testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_UNSUPPORTED']);
    assert.match(error.message, words);
    assert.equal(azure.count('sign'), 0);
  }
  const { azure, version, ring } = await opened(t);
  const key = { kid: azure.kid('release', version), kty: 'oct-HSM', key_ops: ['sign'] };
  azure.fail('get', { status: 200, body: { key, attributes: version.attributes } });
  assert.match((await rejection(ring.describe('subject', testContext()))).message, /oct-HSM is symmetric/);
});

test('the protection level is what Azure states, with the evidence; more is not claimed', async (t) => {
  const [vault, hsm] = ['unit.vault.azure.net', 'unit.managedhsm.azure.net'];
  const cases: readonly (readonly [string, boolean, object, ProtectionLevel])[] = [
    [vault, false, { hsmPlatform: '0' }, 'software'],
    [vault, false, { hsmPlatform: '2' }, 'software'],
    [vault, true, { hsmPlatform: '1' }, 'fips-140-2-l2'],
    [vault, true, { hsmPlatform: '2' }, 'fips-140-3-l3'],
    [vault, true, { hsmPlatform: '3' }, 'hsm'],
    [vault, true, { hsmPlatform: undefined }, 'hsm'],
    [vault, true, { hsmPlatform: '2', exportable: true }, 'hsm'],
    [hsm, true, { hsmPlatform: undefined }, 'fips-140-3-l3'],
  ];
  for (const [host, hardware, attributes, level] of cases) {
    const { version, ring } = await openedAt(t, host);
    version.hsm = hardware;
    Object.assign(version.attributes, attributes);
    const { protectionLevel, evidence, origin } = await ring.describe('subject', testContext());
    assert.equal(protectionLevel, level, JSON.stringify([host, hardware, attributes]));
    assert.equal(origin, 'unknown');
    assert.equal(evidence['kty'], hardware ? 'EC-HSM' : 'EC');
    assert.equal(evidence['host'], host);
    assert.equal(evidence['recoveryLevel'], 'Recoverable+Purgeable');
  }
  const { ring } = await openedAt(t, vault, { requireProtection: 'hsm' });
  assert.equal((await rejection(ring.describe('subject', testContext()))).reason, 'PROTECTION_LEVEL');
});

test('the attestation of a Managed HSM is kept as digests; without it the key opens all the same', async (t) => {
  const host = 'unit.managedhsm.azure.net';
  const { azure, version, ring } = await openedAt(t, host);
  const { evidence } = await ring.describe('subject', testContext());
  const digest = createHash('sha256').update(`private key of ${version.version}`).digest('hex');
  assert.equal(evidence['attestation'], 'unverified, version 1.0');
  assert.equal(evidence['attestation.privateKey'], `sha256:${digest}`);
  assert.equal(azure.count('attestation'), 1);

  const refused = await openedAt(t, host);
  refused.azure.fail('attestation', azureFault(403, 'Forbidden', 'ForbiddenByRbac'));
  assert.match((await refused.ring.describe('subject', testContext())).evidence['attestation'] ?? '', /ACCESS_DENIED/);
  const hanging = await openedAt(t, host);
  hanging.azure.fail('attestation', () => 'handled');
  assert.match((await hanging.ring.describe('subject', testContext())).evidence['attestation'] ?? '', /DEADLINE/);

  const vault = await openedAt(t, 'unit.vault.azure.net');
  await vault.ring.describe('subject', testContext());
  assert.equal(vault.azure.count('attestation'), 0);
});

test('a name of Azure whose challenge asks for a token of something else gets none', async (t) => {
  const { azure, ring } = await openedAt(t, 'unit.vault.azure.net');
  azure.setResource('https://vault.evil.example');
  const error = await rejection(ring.describe('subject', testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'KEY_CHALLENGE_REFUSED']);
  assert.match(error.message, /check vaultUrl/);
  assert.equal(azure.count('token'), 0);
});

test('the next page of versions is asked of the vault alone', async (t) => {
  const { azure, ring } = await opened(t);
  const elsewhere = await started(t);
  const kid = `${azure.origin}/keys/release/${'0'.repeat(32)}`;
  const body = { value: [{ kid, attributes: {} }], nextLink: `${elsewhere.origin}/keys/release/versions` };
  azure.fail('versions', { status: 200, body });
  const error = await rejection(ring.describe('subject', testContext()));
  assert.equal(error.code, 'failed_precondition');
  assert.equal(elsewhere.calls.filter(({ authorization }) => authorization !== '').length, 0);
});

test('signatures whose r or s is short or high come out as DER that verifies', async (t) => {
  for (const [kind, hash, curve] of [
    ['P-256', 'sha256', 'P-256'],
    ['P-384', 'sha384', 'P-384'],
    ['P-521', 'sha512', 'P-521'],
  ] as const) {
    const { version, ring } = await opened(t, kind);
    const half = curve === 'P-521' ? 0x00 : 0x7f;
    const found = { short: 0, high: 0 };
    // One of P-521 in 256 is short: of 2,000 too few are, once in sixty runs.
    for (let index = 0; index < 20_000 && (found.short < 3 || found.high < 3); index++) {
      const content = Buffer.from(`message ${index}`);
      const raw = ecdsaDerToRaw(signDigest(version.privateKey, createHash(hash).update(content).digest()), curve);
      assert.ok(raw !== undefined);
      const [r, s] = [raw.subarray(0, raw.length / 2), raw.subarray(raw.length / 2)];
      // The top byte of a P-521 scalar is 0 or 1: short is the next byte, too.
      const short = [r, s].some((scalar) => scalar[0] === 0 && (curve !== 'P-521' || scalar[1] === 0));
      const high = (s[0] ?? 0) > half;
      if (short ? found.short >= 3 : !high || found.high >= 3) continue;
      found[short ? 'short' : 'high'] += 1;
      const { signature } = await ring.sign('subject', { kind: 'message', message: content }, testContext());
      assert.deepEqual(ecdsaDerToRaw(signature, curve), raw);
    }
    assert.deepEqual(found, { short: 3, high: 3 }, kind);
  }
});

test('the SDK is loaded when a key of Azure is opened, not before', async () => {
  const program = (open: boolean) => `
    import { registerHooks } from 'node:module';
    let loaded = 0;
    registerHooks({
      load(url, context, next) {
        if (/node_modules\\/@azure\\//.test(url)) loaded += 1;
        return next(url, context);
      },
    });
    await import('./src/serve.ts');
    const { configSchema } = await import('./src/config/schema.ts');
    const { openKeyring } = await import('./src/keys/keyring.ts');
    const { openContext } = await import('./src/model/context.ts');
    const credential = { method: 'managed-identity' };
    const keys = configSchema.shape.keys.parse([
      { name: 'a', kind: 'azure', vaultUrl: 'https://127.0.0.1:9', key: 'x', credential, disableChallengeResourceVerification: true },
      { name: 'l', kind: 'local', generate: 'ed25519' },
    ]);
    const ring = openKeyring(keys);
    await ring.describe('l', openContext('l', 5000).context);
    if (${open}) await ring.describe('a', openContext('a', 5000).context).catch(() => undefined);
    console.log(loaded > 0);
    process.exit();`;
  for (const open of [false, true]) {
    const args = ['--input-type=module', '-e', program(open)];
    const cwd = new URL('../../', import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd });
    assert.equal(stdout.trim(), String(open));
  }
});

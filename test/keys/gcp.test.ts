import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { openKeyring } from '../../src/keys/keyring.ts';
import { keyContract, rejection, testContext } from '../contract/keys/contract.ts';
import { parent, startFakeGcp } from './fake-gcp.ts';
import { type KmsAlgorithm, kmsAlgorithms } from './fake-gcp-crypto.ts';
import { gcpKey, message, opened, ringOf, started } from './gcp-world.ts';

for (const [algorithm, { key }] of Object.entries(kmsAlgorithms) as [
  KmsAlgorithm,
  (typeof kmsAlgorithms)[KmsAlgorithm],
][]) {
  keyContract({
    label: `Google KMS of ours, ${key}`,
    backend: 'gcp',
    algorithm: key,
    ...(key === 'ed25519' ? { minMessage: 1, maxMessage: 64 * 1024 } : {}),
    protectionLevel: 'fips-140-2-l3',
    open: async () => {
      const kms = await startFakeGcp();
      const made = kms.createKey(algorithm);
      for (const { fields } of made.versions) fields['protectionLevel'] = 'HSM';
      const ring = openKeyring([gcpKey(kms.endpoint, made.name)]);
      const close = async () => {
        await ring.close();
        await kms.close();
      };
      return { ...ring, close };
    },
  });
}

test('one request a signature: the key is read once, when it is opened', async (t) => {
  const { kms, version, ring } = await opened(t);
  for (let round = 0; round < 3; round++) {
    await ring.sign('subject', message, testContext());
    await ring.describe('subject', testContext());
  }
  assert.deepEqual(
    kms.calls.map(({ operation }) => operation),
    [
      'ListCryptoKeyVersions',
      'GetCryptoKeyVersion',
      'GetPublicKey',
      'AsymmetricSign',
      'AsymmetricSign',
      'AsymmetricSign',
    ],
  );
  const name = `${parent}/cryptoKeys/key-1/cryptoKeyVersions/1`;
  const { request, metadata } = kms.calls.at(-1) ?? assert.fail();
  const digest = createHash('sha256').update(message.message).digest();
  assert.equal(request['name'], name);
  assert.deepEqual((request['digest'] as Record<string, unknown>)['sha256'], digest);
  assert.notEqual(request['digestCrc32c'], null);
  assert.equal(metadata['x-goog-request-params'], `name=${encodeURIComponent(name)}`);
  assert.equal(metadata['authorization'], undefined);
  const { versions, signing, opaque, origin } = await ring.describe('subject', testContext());
  assert.equal(signing.version, version.fields['name']);
  assert.deepEqual(
    versions.map((each) => [each.version, each.state, each.createdAt]),
    [[name, 'enabled', '2026-11-27T00:12:41.500Z']],
  );
  assert.deepEqual([opaque, origin], [[], 'generated']);
});

test('Ed25519 signs the data, with its checksum; more than 64 KiB say why not, unasked', async (t) => {
  const { kms, ring } = await opened(t, {}, 'EC_SIGN_ED25519');
  await ring.sign('subject', message, testContext());
  const { request } = kms.calls.at(-1) ?? assert.fail();
  assert.deepEqual([request['data'], request['digest']], [message.message, null]);
  const large = { kind: 'message', message: Buffer.alloc(64 * 1024 + 1) } as const;
  const error = await rejection(ring.sign('subject', large, testContext()));
  assert.deepEqual([error.code, error.reason], ['failed_precondition', 'MESSAGE_TOO_LARGE']);
  assert.match(error.message, /at most 65536 bytes.*use an ECDSA or RSA key/);
  assert.equal(kms.count('AsymmetricSign'), 1);
});

test('the newest enabled version signs, by number and not by text; others are listed', async (t) => {
  const kms = await started(t);
  const key = kms.createKey();
  for (let count = 1; count < 12; count++) key.addVersion();
  const states = ['DISABLED', 'DESTROY_SCHEDULED', 'DESTROYED', 'PENDING_IMPORT', 'IMPORT_FAILED'];
  for (const [index, state] of states.entries()) {
    const version = key.versions[index] ?? assert.fail();
    version.fields['state'] = state;
  }
  (key.versions[11] ?? assert.fail()).fields['state'] = 'PENDING_GENERATION';
  const ring = ringOf(t, kms.endpoint, key.name);
  const number = (name: string): number => Number(name.split('/').at(-1));
  assert.equal(number((await ring.sign('subject', message, testContext())).version.version), 11);
  const { versions, opaque } = await ring.describe('subject', testContext());
  assert.deepEqual(
    versions.map(({ version }) => number(version)),
    [11, 10, 9, 8, 7, 6],
  );
  assert.deepEqual(
    opaque.map(({ version, state }) => [number(version), state]),
    [
      [12, 'pending'],
      [5, 'destroyed'],
      [4, 'pending'],
      [3, 'destroyed'],
      [2, 'pending-deletion'],
      [1, 'disabled'],
    ],
  );
});

test('all pages of versions are read; a key without end is refused', async (t) => {
  const kms = await started(t);
  const key = kms.createKey();
  for (let count = 1; count < 130; count++) key.addVersion();
  const ring = ringOf(t, kms.endpoint, key.name);
  const { versions, opaque } = await ring.describe('subject', testContext());
  assert.equal(kms.count('ListCryptoKeyVersions'), 2);
  assert.deepEqual([versions.length, opaque.length], [51, 79]);
  assert.match(versions[0]?.version ?? '', /\/130$/);
  kms.fail('ListCryptoKeyVersions', (answer) => ({ ...answer, nextPageToken: '1' }));
  const endless = await rejection(ringOf(t, kms.endpoint, key.name).describe('subject', testContext()));
  assert.deepEqual([endless.code, endless.reason], ['failed_precondition', 'KEY_UNSUPPORTED']);
  assert.match(endless.message, /more than 1000 versions/);
});

test('rotation: the pinned version signs on until it is disabled, then the newest', async (t) => {
  const { kms, key, ring, version } = await opened(t);
  const versionNow = async () =>
    Number((await ring.sign('subject', message, testContext())).version.version.split('/').at(-1));
  assert.equal(await versionNow(), 1);
  const next = key.addVersion();
  assert.equal(await versionNow(), 1);
  version.fields['state'] = 'DISABLED';
  assert.equal((await rejection(versionNow())).reason, 'KEY_DISABLED');
  assert.equal(await versionNow(), 2);
  next.fields['state'] = 'DESTROYED';
  assert.equal((await rejection(versionNow())).reason, 'KEY_DESTROYED');
  assert.equal((await rejection(versionNow())).reason, 'KEY_DESTROYED');
  assert.equal(kms.count('AsymmetricSign'), 5);
});

test('rotation is seen in time, for one read request: what never changes is not read again', async (t) => {
  const { kms, key, ring } = await opened(t, { refreshSeconds: 1 });
  await ring.sign('subject', message, testContext());
  key.addVersion();
  const signedBy = async () => (await ring.sign('subject', message, testContext())).version.version;
  while (!(await signedBy()).endsWith('/2')) await new Promise((resolve) => setTimeout(resolve, 100));
  const before = [kms.count('GetPublicKey'), kms.count('GetCryptoKeyVersion')];
  assert.deepEqual(before, [2, 2]);
  const lists = kms.count('ListCryptoKeyVersions');
  while (kms.count('ListCryptoKeyVersions') === lists) {
    await signedBy();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual([kms.count('GetPublicKey'), kms.count('GetCryptoKeyVersion')], before);
});

test('a version of the configuration signs, newer ones do not', async (t) => {
  const kms = await started(t);
  const key = kms.createKey('EC_SIGN_P256_SHA256', 'RSA_SIGN_PSS_2048_SHA256', 'EC_SIGN_P384_SHA384');
  for (const [more, suffix] of [
    [{ version: 2 }, '/2'],
    [{ ref: `gcpkms://${key.name}/cryptoKeyVersions/1` }, '/1'],
    [{ ref: `gcpkms://${key.name}/versions/2`, rsaPadding: 'pss' }, '/2'],
    [{ version: 'latest' }, '/3'],
    [{}, '/3'],
  ] as const) {
    const signed = await ringOf(t, kms.endpoint, key.name, more).sign('subject', message, testContext());
    assert.ok(signed.version.version.endsWith(suffix), JSON.stringify(more));
  }
  const cases: readonly (readonly [object, string, RegExp])[] = [
    [{ version: 4 }, 'KEY_NOT_FOUND', /no version 4: create one/],
    [{ version: 2, rsaPadding: 'pkcs1v15' }, 'KEY_UNSUPPORTED', /padding pss and sha256, which are part of it/],
  ];
  for (const [more, reason, words] of cases) {
    const error = await rejection(ringOf(t, kms.endpoint, key.name, more).describe('subject', testContext()));
    assert.deepEqual([error.code, error.reason], ['failed_precondition', reason]);
    assert.match(error.message, words);
  }
});

test('a project that is configured by its number may be answered by its id, no other key', async (t) => {
  const { kms, key } = await opened(t);
  const byNumber = key.name.replace('my-project', '123456789');
  const cryptoKeyVersions = key.versions.map(({ fields }) => fields);
  kms.answer('ListCryptoKeyVersions', { cryptoKeyVersions, nextPageToken: '' });
  const signed = await ringOf(t, kms.endpoint, byNumber).sign('subject', message, testContext());
  assert.ok(signed.version.version.startsWith(`${key.name}/`));
  const other = byNumber.replace('key-1', 'key-2');
  const error = await rejection(ringOf(t, kms.endpoint, other).describe('subject', testContext()));
  assert.deepEqual([error.code, error.reason], ['data_loss', 'KEY_ANSWER_MALFORMED']);
});

test('the protection level is what Cloud KMS states, with its evidence; a demand for more is refused', async (t) => {
  const content = Buffer.from('attestation');
  const attestation = { format: 'CAVIUM_V2_COMPRESSED', content };
  const attested = {
    attestationFormat: attestation.format,
    attestationSha256: createHash('sha256').update(content).digest('hex'),
  };
  const importJob = `${parent}/importJobs/job`;
  const external = { externalKeyUri: 'https://ekm.example/v0/k', ekmConnectionKeyPath: '' };
  const cases: readonly (readonly [object, string, string, object])[] = [
    [{ protectionLevel: 'SOFTWARE' }, 'software', 'generated', {}],
    [{ protectionLevel: 'SOFTWARE', importJob }, 'software', 'imported', { importJob }],
    [{ protectionLevel: 'HSM', attestation }, 'fips-140-2-l3', 'generated', attested],
    [{ protectionLevel: 'HSM', attestation, importJob }, 'hsm', 'imported', { ...attested, importJob }],
    [{ protectionLevel: 'HSM_SINGLE_TENANT' }, 'fips-140-2-l3', 'generated', {}],
    [
      { protectionLevel: 'HSM_SINGLE_TENANT', trustedWrappingEnabled: true },
      'hsm',
      'generated',
      { trustedWrappingEnabled: 'true' },
    ],
    [
      { protectionLevel: 'EXTERNAL', externalProtectionLevelOptions: external },
      'software',
      'external',
      { externalKeyUri: external.externalKeyUri },
    ],
    [{ protectionLevel: 'EXTERNAL_VPC' }, 'software', 'external', {}],
  ];
  for (const [fields, level, origin, evidence] of cases) {
    const { kms, key, version, ring } = await opened(t);
    Object.assign(version.fields, fields);
    const described = await ring.describe('subject', testContext());
    const { protectionLevel } = version.fields;
    assert.deepEqual(
      [described.protectionLevel, described.origin, described.evidence],
      [level, origin, { protectionLevel, ...evidence }],
    );
    const strict = ringOf(t, kms.endpoint, key.name, { requireProtection: 'fips-140-2-l3' });
    if (level === 'fips-140-2-l3') await strict.sign('subject', message, testContext());
    else assert.equal((await rejection(strict.describe('subject', testContext()))).reason, 'PROTECTION_LEVEL');
  }
});

test('the SDK is loaded when a key of Google Cloud KMS is opened, not before', async () => {
  const program = (open: boolean) => `
    import { registerHooks } from 'node:module';
    let loaded = 0;
    registerHooks({
      load(url, context, next) {
        if (/node_modules\\/(?:@google-cloud|google-gax|google-auth-library)\\//.test(url)) loaded += 1;
        return next(url, context);
      },
    });
    await import('./src/serve.ts');
    const { configSchema } = await import('./src/config/schema.ts');
    const { openKeyring } = await import('./src/keys/keyring.ts');
    const { openContext } = await import('./src/model/context.ts');
    const keys = configSchema.shape.keys.parse([
      { name: 'g', kind: 'gcp', ref: 'gcpkms://${parent}/cryptoKeys/k', endpoint: 'http://127.0.0.1:9' },
      { name: 'l', kind: 'local', generate: 'ed25519' },
    ]);
    const ring = openKeyring(keys);
    await ring.describe('l', openContext('l', 5000).context);
    if (${open}) await ring.describe('g', openContext('g', 5000).context).catch(() => undefined);
    console.log(loaded > 0);
    process.exit(0);`;
  for (const open of [false, true]) {
    const args = ['--input-type=module', '-e', program(open)];
    const cwd = new URL('../../', import.meta.url);
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd });
    assert.deepEqual([stdout.trim(), stderr], [String(open), '']);
  }
});

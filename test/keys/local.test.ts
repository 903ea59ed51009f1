import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { spkiOf } from '../../src/codec/spki.ts';
import { openLocalKey } from '../../src/keys/local.ts';
import { localSettings } from '../../src/keys/local/settings.ts';
import { sha256 } from '../../src/model/digest.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { rejection } from '../contract/keys/contract.ts';
import { cosignKeyFile, encryptedPkcs8File, pkcs8File, privateKeyFor } from '../contract/keys/key-files.ts';

const folder = mkdtempSync(join(tmpdir(), 'countersign-local-'));
after(() => rmSync(folder, { recursive: true }));

const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};
const open = (settings: object) => openLocalKey(localSettings.parse({ name: 'k', kind: 'local', ...settings }));
const refused = async (settings: object): Promise<CountersignError> => {
  const error = await rejection(open(settings));
  assert.equal(error.code, 'failed_precondition');
  return error;
};

const key = privateKeyFor('ecdsa-p256-sha256');
const cosign = file('cosign.key', cosignKeyFile(key, 'right'));

test('the version of a local key is the digest of its public key', async () => {
  const { description } = await open({ file: file('plain.pem', pkcs8File(key)) });
  assert.equal(description.signing.version, sha256(spkiOf(createPublicKey(key))));
});

test('a generated key is another one each time', async () => {
  const [one, two] = await Promise.all([open({ generate: 'ed25519' }), open({ generate: 'ed25519' })]);
  assert.notEqual(one.description.signing.version, two.description.signing.version);
});

test('a wrong or missing password names the file and the fix, and shows no password', async () => {
  for (const encrypted of [cosign, file('encrypted.pem', encryptedPkcs8File(key, 'right'))]) {
    const wrong = await refused({ file: encrypted, password: 'wrong-guess' });
    assert.equal(wrong.reason, 'KEY_PASSWORD_WRONG');
    assert.ok(wrong.message.includes(encrypted));
    assert.match(wrong.message, /password or passwordFile/);
    assert.doesNotMatch(JSON.stringify([wrong.message, String(wrong.cause), wrong.metadata]), /wrong-guess/);
    const missing = await refused({ file: encrypted });
    assert.equal(missing.reason, 'KEY_PASSWORD_MISSING');
    assert.ok(missing.message.includes(encrypted) && missing.message.includes('passwordFile'));
  }
});

test('only one final newline of a password file is dropped', async () => {
  const spaced = file('spaced.key', cosignKeyFile(key, ' pass \n'));
  assert.ok(await open({ file: spaced, passwordFile: file('spaced.password', ' pass \n\n') }));
  assert.equal((await refused({ file: spaced, passwordFile: file('trimmed', 'pass') })).reason, 'KEY_PASSWORD_WRONG');
});

test('files that are not there, not files, not text or too large are named', async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [join(folder, 'absent.pem'), /no such file/],
    [folder, /not a file|EISDIR/],
    [file('binary.pem', Buffer.from([0xff, 0xfe, 0x00])), /not text/],
    [file('large.pem', 'x'.repeat(70_000)), /larger than 65536/],
  ];
  for (const [path, words] of cases) {
    const error = await refused({ file: path });
    assert.equal(error.reason, 'KEY_FILE_UNREADABLE');
    assert.ok(error.message.includes(path));
    assert.match(error.message, words);
  }
  const error = await refused({ file: cosign, passwordFile: join(folder, 'absent.password') });
  assert.match(error.message, /password file .*absent\.password: there is no such file/);
});

test('a special file does not hang', async () => {
  assert.equal((await refused({ file: '/dev/zero' })).reason, 'KEY_FILE_UNREADABLE');
});

test('files that hold no usable private key say what they hold', async () => {
  const publicPem = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString();
  const pem = pkcs8File(key);
  const cases: Readonly<Record<string, readonly [string, RegExp]>> = {
    'empty.pem': ['', /no PEM block/],
    'public.pem': [publicPem, /public key, not a private one/],
    'two.pem': [pem + pem, /2 PEM blocks/],
    'cert.pem': ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', /"CERTIFICATE"/],
    'short.pem': ['-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n', /no readable private key/],
    'notjson.key': [
      '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n',
      /as cosign writes/,
    ],
  };
  for (const [name, [content, words]] of Object.entries(cases)) {
    const error = await refused({ file: file(name, content), password: 'p' });
    assert.equal(error.reason, 'KEY_FILE_INVALID', name);
    assert.match(error.message, words, name);
    assert.ok(error.message.includes(name));
  }
});

test('a cosign file with other parameters is refused before any work is done', async () => {
  const params = (change: object) => ({
    change: (body: Record<string, unknown>) => ({
      ...body,
      kdf: { name: 'scrypt', params: { N: 65_536, r: 8, p: 1, ...change }, salt: Buffer.alloc(32).toString('base64') },
    }),
  });
  const changes: readonly object[] = [
    { N: 2 ** 30 },
    { N: 16_384 },
    { r: 1024 },
    { p: 64 },
    { N: '65536' },
    { extra: 1 },
  ];
  for (const [index, change] of changes.entries()) {
    const body = cosignKeyFile(key, 'p', { N: 2, ...params(change) });
    const started = performance.now();
    const error = await refused({ file: file(`params-${index}.key`, body), password: 'p' });
    assert.equal(error.reason, 'KEY_FILE_INVALID');
    assert.ok(performance.now() - started < 100, 'no derivation was run');
  }
  const fields: readonly Record<string, unknown>[] = [
    { cipher: { name: 'aes', nonce: '' } },
    { ciphertext: 'AA==' },
    { ciphertext: null },
    { kdf: null },
    { more: 1 },
  ];
  for (const [index, field] of fields.entries()) {
    const body = cosignKeyFile(key, 'p', { N: 2, change: (good) => ({ ...good, ...field }) });
    const error = await refused({ file: file(`fields-${index}.key`, body), password: 'p' });
    assert.equal(error.reason, 'KEY_FILE_INVALID', JSON.stringify(field));
  }
});

test('a key that cosign refuses is refused with the file and the reason', async () => {
  const k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey;
  const error = await refused({ file: file('k1.pem', pkcs8File(k1)) });
  assert.equal(error.reason, 'KEY_UNSUPPORTED');
  assert.match(error.message, /k1\.pem.*secp256k1/);
});

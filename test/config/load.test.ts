import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { CountersignError } from '../../src/model/error.ts';

const folder = mkdtempSync(join(tmpdir(), 'config-'));
after(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'countersign.yaml');

const load = (text: string, environment: Record<string, string> = {}) => {
  writeFileSync(path, text);
  return loadConfig(path, environment);
};

const refusal = async (text: string, environment: Record<string, string> = {}): Promise<CountersignError> => {
  const error: unknown = await load(text, environment).then(
    () => assert.fail('it was accepted'),
    (caught: unknown) => caught,
  );
  assert.ok(error instanceof CountersignError, String(error));
  assert.equal(error.code, 'invalid_argument');
  assert.equal(error.reason, 'CONFIG_INVALID');
  return error;
};

/** The mistakes without the path of the file: `line:column: field: message`. */
const mistakes = async (text: string, environment: Record<string, string> = {}): Promise<string[]> =>
  (await refusal(text, environment)).message
    .split('\n')
    .slice(1)
    .map((line) => line.replace(`  ${path}:`, ''));

const listeners = `listeners:
  grpc: {address: "127.0.0.1:8080", transport: plaintext}
`;
const rest = `callers:
  oidc: [{issuer: https://issuer.example, audience: countersign}]
policy: {files: [policy.yaml]}
keys: [{name: release, kind: local, file: release.key, password: "\${KEY_PASSWORD}"}]
audit: {kind: file, file: audit.jsonl}
`;
const whole = listeners + rest;
const environment = { KEY_PASSWORD: 'sesame' };

test('a small configuration, with defaults, the environment, and paths from the folder of the file', async () => {
  const config = await load(whole, environment);
  assert.equal(config.listeners.grpc?.transport, 'plaintext');
  assert.deepEqual(config.audit, { kind: 'file', file: join(folder, 'audit.jsonl'), fsync: true });
  const [key] = config.keys;
  assert.ok(key?.kind === 'local');
  assert.equal(key.file, join(folder, 'release.key'));
  assert.equal(key.password, 'sesame');
  assert.deepEqual(config.limits, {
    maxInFlight: 256,
    maxQueued: 1024,
    maxRequestMs: 30_000,
    maxBatchMs: 300_000,
    maxBatches: 32,
    drainMs: 25_000,
  });
  assert.deepEqual(config.signing, { record: 'full' });
  assert.equal(config.telemetry.metrics, false);
  assert.equal(config.telemetry.traces, undefined);
});

test('absolute paths stay', async () => {
  const config = await load(whole.replace('file: audit.jsonl', 'file: /var/log/audit.jsonl'), environment);
  assert.ok(config.audit.kind === 'file');
  assert.equal(config.audit.file, '/var/log/audit.jsonl');
});

test('every mistake at once: line, path, fix', async () => {
  const found = await mistakes(`listners: {}
listeners:
  grpc:
    address: 0.0.0.0
    transprot: plaintext
callers:
  oidc: []
policy: {files: [policy.yaml]}
keys:
  - name: release
    kind: local
    file: \${KEY_FILE_NAME}
  - name: other
    kind: valt
audit: {kind: file, path: x}
limits: {drainMs: 25001}
telemetry:
  log: {level: inof}
`);
  assert.deepEqual(found, [
    '1:1: listners: is not a known setting; did you mean listeners?',
    '3:3: listeners.grpc: needs tls; or, for a listener without it, transport: plaintext',
    '4:5: listeners.grpc.address: must be host:port, such as 0.0.0.0:8080',
    '5:5: listeners.grpc.transprot: is not a known setting; did you mean transport?',
    '12:5: keys[0].file: the environment variable KEY_FILE_NAME is not set, nor is KEY_FILE_NAME_FILE',
    '14:5: keys[1].kind: must be one of: local, vault, aws, gcp, azure, pkcs11, group',
    '15:1: audit.file: is missing',
    '15:21: audit.path: is not a known setting',
    '16:10: limits.drainMs: must be at most 25000',
    '18:9: telemetry.log.level: must be one of debug, info, warn, error, silent; did you mean info?',
  ]);
});

test('violations carry field and line for programs', async () => {
  const error = await refusal(`${whole}limits: {maxInFlight: 0}\n`, environment);
  assert.deepEqual(error.violations, [{ field: 'limits.maxInFlight', description: 'line 8: must be at least 1' }]);
});

test('a missing section is named', async () => {
  assert.deepEqual(await mistakes(listeners), [
    '1:1: callers: is missing',
    '1:1: policy: is missing',
    '1:1: keys: is missing',
    '1:1: audit: is missing',
  ]);
});

const listenerCases: [string, RegExp][] = [
  ['grpc: {address: "a:1"}', /listeners\.grpc: needs tls; or/],
  ['grpc: {address: "a:1", transport: plain}', /transport: must be plaintext/],
  ['grpc: {address: "a:1", transport: plaintext, tls: {certFile: c, keyFile: k}}', /exclude each other/],
  ['grpc: {address: "a:1", tls: {certFile: c}}', /tls\.keyFile: is missing/],
  ['grpc: {address: "a:1", tls: {certFile: c, keyFile: k, clientCertificate: required}}', /needs clientCaFile/],
  ['grpc: {address: "a:65536", transport: plaintext}', /port of at most 65535/],
  ['grpc: {address: ":8080", transport: plaintext}', /must be host:port/],
  ['grpc: {address: "::1:8080", transport: plaintext}', /must be host:port/],
  ['admin: {address: "a:1", transport: plaintext}', /listeners: needs grpc or rest, or both/],
];
for (const [line, expected] of listenerCases) {
  test(`listener refused: ${line}`, async () => {
    assert.match((await mistakes(`listeners:\n  ${line}\n${rest}`, environment)).join('\n'), expected);
  });
}
test('listeners with TLS, IPv6 and client certificates', async () => {
  const { listeners } = await load(
    `listeners:\n  rest: {address: "[::1]:0", tls: {certFile: c, keyFile: k, clientCaFile: ca, clientCertificate: optional}}\n${rest}`,
    environment,
  );
  assert.deepEqual(listeners.rest?.tls, {
    certFile: join(folder, 'c'),
    keyFile: join(folder, 'k'),
    clientCaFile: join(folder, 'ca'),
    clientCertificate: 'optional',
  });
});

test('YAML mistakes come with their places, and before all others', async () => {
  assert.deepEqual(await mistakes('a: &x 1\nb: *x\nb: 2\n'), [
    '1:7: an anchor (&name) is not allowed; remove it',
    '2:4: an alias (*name) is not allowed; write the value out',
    '3:1: the key b is here twice; remove one',
  ]);
  assert.match((await mistakes('')).join(), /must be a mapping, not nothing/);
  assert.match((await mistakes(`a: ${'x'.repeat(262_145)}`)).join(), /larger than 262144 bytes/);
});

test('what the environment puts in cannot change the structure', async () => {
  const config = await load(whole, { KEY_PASSWORD: 'x"\nlimits: {maxInFlight: 1}' });
  assert.equal(config.limits.maxInFlight, 256);
});

test('no value is ever quoted', async () => {
  const text = whole
    .replace('kind: file', 'kind: "${KEY_PASSWORD}"')
    .replace('name: release', 'name: "${KEY_PASSWORD}!"');
  const error = await refusal(text, environment);
  assert.equal(error.violations.length, 2, error.message);
  assert.ok(!JSON.stringify([error.message, error.violations, String(error.cause)]).includes('sesame'));
});

test('a file that cannot be read', async () => {
  for (const [file, code] of [
    [join(folder, 'none.yaml'), 'ENOENT'],
    [folder, 'EISDIR'],
  ] as const) {
    await assert.rejects(loadConfig(file, {}), {
      code: 'failed_precondition',
      reason: 'CONFIG_UNREADABLE',
      message: `The configuration ${file} cannot be read (${code}).`,
    });
  }
});

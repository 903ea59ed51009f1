// Whatever goes well or wrong: no token, password or key in any log, audit record, span, metric or answer.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { pushImage } from '../../src/dev/image.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { startFakeVault } from '../keys/fake-vault.ts';
import { login, reset, signing } from '../keys/vault-world.ts';
import { startFaultRegistry } from '../registry/fault-registry.ts';
import { startServiceWorld } from '../service-world.ts';
import { startCollector } from '../telemetry/collector.ts';
import { openEdges, type Outcome } from './both-edges.ts';

// None is of a shape that the log would take out by itself.
const vaultToken = 'operators-vault-token';
const secretId = 'approle-secret-id';
const registryPassword = 'registry-pass-word';
const wrongPassword = 'registry-wrong-word';
const identityToken = 'registry-identity-token';
const helperPassword = 'registry-helper-word';
const keyPassword = 'cosign-pass-word';
const wrongKeyPassword = 'cosign-wrong-word';
const collectorSecret = 'collector-api-key';

const encryptedKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: keyPassword })
    .toString();
const plainKey = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
const linesOf = (pem: string): readonly string[] => pem.split('\n').filter((line) => /^[\w+/=]{20,}$/.test(line));

test('no secret is seen anywhere', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-secrets-'));
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const [encrypted, plain] = [encryptedKey(), plainKey()];
  const bearer = { kind: 'bearer', username: 'robot', password: registryPassword, identityToken } as const;
  const basicAuth = { kind: 'basic', username: 'robot', password: registryPassword } as const;
  const byHelper = { kind: 'basic', username: 'robot', password: helperPassword } as const;
  const [helped, leaking, open, right, wrong, wrongBearer, byToken, vault, collector] = await Promise.all([
    startFaultRegistry({ auth: byHelper }),
    startFaultRegistry({ auth: byHelper }),
    startFaultRegistry(),
    startFaultRegistry({ auth: basicAuth }),
    startFaultRegistry({ auth: basicAuth }),
    startFaultRegistry({ auth: bearer }),
    startFaultRegistry({ auth: bearer }),
    startFakeVault(),
    startCollector(),
  ]);
  vault.createKey('release');
  await pushImage(open.host, 'acme/app', 'v1');
  const helper = (name: string, body: string): void =>
    chmodSync(file(`docker-credential-${name}`, `#!/bin/sh\n${body}\n`), 0o755);
  helper('right', `echo '${JSON.stringify({ ServerURL: '', Username: 'robot', Secret: helperPassword })}'`);
  helper('leaking', `echo '${helperPassword}'; echo '${helperPassword}' >&2; exit 1`);
  const credHelpers = { [helped.host]: 'right', [leaking.host]: 'leaking' };
  const dockerConfig = file('config.json', JSON.stringify({ credHelpers }));
  const path = process.env['PATH'];
  process.env['PATH'] = [folder, path].join(delimiter);
  t.after(() => {
    process.env['PATH'] = path;
  });
  const lines: string[] = [];
  const vaultKey = { kind: 'vault', address: vault.address, key: 'release' };
  const world = await startServiceWorld({
    plainHttpHosts: [],
    keys: [
      { name: 'encrypted', kind: 'local', file: file('encrypted.key', encrypted), password: keyPassword },
      { name: 'wrong-password', kind: 'local', file: file('wrong.key', encrypted), password: wrongKeyPassword },
      { name: 'plain', kind: 'local', file: file('plain.key', plain) },
      { name: 'broken', kind: 'local', file: file('broken.key', plain.replace('\n', '\nMIGH')) },
      { name: 'cut', kind: 'local', file: file('cut.key', plain.slice(0, 120)) },
      { name: 'approle', ...vaultKey, login: { method: 'approle', roleId: 'role', secretId } },
      { name: 'token', ...vaultKey, login: { method: 'token', token: vault.issueToken() } },
      { name: 'bad-token', ...vaultKey, login: { method: 'token', token: vaultToken } },
    ],
    settings: {
      registry: {
        plainHttpHosts: ['127.0.0.1'],
        tries: 1,
        dockerConfig,
        credentials: {
          [open.host]: { username: 'robot', password: registryPassword },
          [right.host]: { username: 'robot', passwordFile: file('password', registryPassword) },
          [wrong.host]: { username: 'robot', password: wrongPassword },
          [wrongBearer.host]: { username: 'robot', password: wrongPassword },
          [byToken.host]: { identityToken },
        },
      },
      limits: { maxRequestMs: 5_000 },
      telemetry: { metrics: true, traces: { endpoint: collector.endpoint, headers: { 'api-key': collectorSecret } } },
    },
    logger: createLogger({ level: 'debug', format: 'json' }, { write: (line) => void lines.push(line) }),
  });
  const edges = openEdges(world);
  const tokens: string[] = [];
  const outcomes: Outcome[] = [];
  const sign = async (key: string, host?: string, change: (token: string) => string = (same) => same) => {
    const token = change(await world.token());
    tokens.push(token);
    const subject =
      host === undefined ? { blob: { name: 'a', content: 'aGVsbG8=' } } : { image: `${host}/acme/app:v1` };
    outcomes.push(...(await edges.both('/v1/sign', { subject, key, formats: ['FORMAT_BUNDLE'] }, { token })));
  };

  for (const key of [
    'encrypted',
    'wrong-password',
    'plain',
    'broken',
    'cut',
    'approle',
    'token',
    'bad-token',
    'absent',
  ])
    await sign(key);
  const registries = [open, right, wrong, wrong, wrongBearer, byToken, helped, leaking, leaking];
  for (const { host } of registries) await sign('plain', host);
  writeFileSync(dockerConfig, `{"auths": ${registryPassword}`);
  for (const registry of [open, right, byToken, helped]) {
    const echo = `Basic ${Buffer.from(`robot:${registryPassword}`).toString('base64')} ${registryPassword}`;
    const body = JSON.stringify({ errors: [{ code: 'DENIED', message: echo }] });
    registry.script({ path: /./, fault: { kind: 'answer', status: 403, body } });
    await sign('plain', registry.host);
    registry.script({ path: /./, fault: { kind: 'reset' } });
    await sign('plain', registry.host);
  }
  await sign('plain', open.host.replace(/\d+$/, '9'));
  open.script({ path: /./, fault: { kind: 'hang' } });
  await sign('plain', open.host);
  for (const fault of [{ status: 403, body: { errors: ['permission denied'] } }, { status: 500 }, reset]) {
    vault.fail(signing, fault);
    await sign('approle');
    vault.heal();
  }
  vault.fail(login, { status: 400, body: { errors: ['invalid role or secret ID'] } });
  vault.revokeTokens();
  await sign('approle');
  // Tokens that are wrong in every part; a caller's mistake must not show them either.
  await sign('plain', undefined, (token) => token.slice(0, -20));
  await sign('plain', undefined, (token) => token.split('.').slice(0, 2).join('.'));
  await sign('plain', undefined, (token) => token.split('.').toReversed().join('.'));
  await sign('plain', undefined, (token) => `${token}${token}`);
  await sign('plain', undefined, () => 'an-opaque-token-of-a-caller');

  const metrics = await (await fetch(`http://${world.service.addresses.admin}/metrics`)).text();
  const ready = await (await fetch(`http://${world.service.addresses.admin}/readyz`)).text();
  const audit = readFileSync(world.auditFile, 'utf8');
  edges.close();
  await world.stop();
  await Promise.all(
    [helped, leaking, open, right, wrong, wrongBearer, byToken, vault, collector].map((peer) => peer.close()),
  );
  rmSync(folder, { recursive: true, force: true });

  const everything: Readonly<Record<string, string>> = {
    log: lines.join(''),
    audit,
    // Of an export the body: its header is the collector's own secret, which it must see.
    spans: collector.raw.map((raw) => raw.slice(raw.indexOf('\n'))).join('\n'),
    metrics,
    ready,
    answers: outcomes.map(({ raw }) => raw).join('\n'),
  };
  for (const [where, text] of Object.entries(everything))
    assert.ok(text.length > 100, `${where} was captured: ${text}`);
  assert.ok(outcomes.filter(({ signed }) => signed !== undefined).length >= 10, 'many succeeded');
  assert.ok(new Set(outcomes.map(({ reason }) => reason)).size >= 12, 'and failed in many ways');

  const basic = [registryPassword, wrongPassword, helperPassword].map((word) =>
    Buffer.from(`robot:${word}`).toString('base64'),
  );
  const given = [
    vaultToken,
    secretId,
    helperPassword,
    registryPassword,
    wrongPassword,
    identityToken,
    keyPassword,
    wrongKeyPassword,
  ];
  assert.ok(outcomes.some(({ reason }) => reason === 'CREDENTIAL_HELPER_FAILED'));
  const handedOut = vault.calls.flatMap(({ token }) => (token === undefined ? [] : [token]));
  const exchanged = byToken.seen.flatMap(({ authorization }) => authorization?.split(' ')[1] ?? []);
  assert.ok(handedOut.some((token) => token.startsWith('hvs.')) && exchanged.length > 0);
  const parts = tokens.flatMap((token) => token.split('.').filter((part) => part.length > 20));
  const secrets = [
    ...given,
    collectorSecret,
    ...basic,
    ...handedOut,
    ...exchanged,
    ...parts.filter((part) => !headersOfTokens.test(part)),
    ...[encrypted, plain].flatMap(linesOf),
    'PRIVATE KEY',
  ];
  for (const secret of new Set(secrets)) {
    for (const [where, text] of Object.entries(everything)) {
      assert.ok(!text.includes(secret), `${where} shows ${secret}`);
    }
  }
});

/** The first part of a token is no secret: every token of an issuer has the same. */
const headersOfTokens = /^eyJhbGciOi[\w-]{0,80}$/;

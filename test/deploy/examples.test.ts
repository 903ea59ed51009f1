// What a user copies from deploy/ must work as it is.
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { expandEnvironment } from '../../src/config/environment.ts';
import { loadConfig } from '../../src/config/load.ts';
import { configSchema } from '../../src/config/schema.ts';
import { readPolicy } from '../../src/open-policy.ts';
import { readPolicyFiles } from '../../src/policy/read-files.ts';
import { runPolicyTests } from '../../src/policy/test-file.ts';
import { ambientHosts } from '../../src/registry/credentials/settings.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { deployFolder, mountsOf, readCompose } from './compose-file.ts';

const deployed = (name: string): string => join(deployFolder, name);
const environment = { VAULT_ROLE_ID: 'role-of-a-test', VAULT_SECRET_ID: 'secret-of-a-test', VAULT_TOKEN: 'of-a-test' };

test('config.example.yaml is a whole configuration, and its policy names only its keys and issuers', async () => {
  const config = await loadConfig(deployed('config.example.yaml'), environment);
  assert.deepEqual(
    config.keys.map(({ name }) => name),
    ['release', 'nightly'],
  );
  const nightly = config.keys.find(({ name }) => name === 'nightly');
  assert.ok(nightly?.kind === 'vault' && nightly.login.method === 'approle');
  assert.equal(nightly.login.secretId, environment.VAULT_SECRET_ID);
  const policy = await readPolicy(config);
  assert.equal(policy.rules.length, 4);
});

test('config.example.yaml shows every section', () => {
  const text = readFileSync(deployed('config.example.yaml'), 'utf8');
  for (const section of Object.keys(configSchema.shape)) assert.match(text, new RegExp(`^${section}:`, 'm'));
});

test('config.example.yaml without its secrets names each one that is missing', async () => {
  await assert.rejects(loadConfig(deployed('config.example.yaml'), {}), /VAULT_ROLE_ID[\s\S]*VAULT_SECRET_ID/);
});

test('the settings that config.example.yaml shows commented out are settings, too', async () => {
  const commented = /^( +)# ( *(?:- )?[A-Za-z.]+:.*)$/gm;
  const text = readFileSync(deployed('config.example.yaml'), 'utf8');
  assert.ok([...text.matchAll(commented)].length > 10);
  const folder = mkdtempSync(join(tmpdir(), 'countersign-example-'));
  try {
    const path = join(folder, 'config.yaml');
    writeFileSync(path, text.replace(commented, '$1$2'));
    const config = await loadConfig(path, { ...environment, COSIGN_PASSWORD: '', REGISTRY_PASSWORD: 'of-a-test' });
    assert.equal(config.keys.length, 3);
    assert.notEqual(config.telemetry.traces, undefined);
    assert.equal(config.registry.lease?.passwordFile, join(folder, 'valkey-password'));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('registry-credentials.example.yaml is a registry section with every form of credentials', () => {
  const text = readFileSync(deployed('registry-credentials.example.yaml'), 'utf8');
  const { value, mistakes } = expandEnvironment(parse(text), { REGISTRY_PASSWORD: 'of-a-test' });
  assert.deepEqual(mistakes, []);
  const { credentials } = registrySettings.parse((value as { registry: unknown }).registry);
  const entries = Object.values(credentials);
  assert.deepEqual(new Set(entries.flatMap(({ ambient }) => ambient ?? [])), new Set(Object.keys(ambientHosts)));
  const shown = new Set(entries.flatMap((entry) => Object.keys(entry)));
  for (const field of ['password', 'passwordFile', 'identityTokenFile', 'helper', 'clientId', 'tokenFile'])
    assert.ok(shown.has(field), field);
});

test('the lease that registries.md shows is a lease, with the defaults that it tells', () => {
  const text = readFileSync(deployed('registries.md'), 'utf8');
  const block = /```yaml\n(registry:\n {2}lease:[\s\S]*?)```/.exec(text)?.[1] ?? '';
  const { lease } = registrySettings.parse((parse(block) as { registry: unknown }).registry);
  assert.ok(lease);
  for (const [name, value] of Object.entries({ durationMs: lease.durationMs, waitMs: lease.waitMs }))
    assert.match(text, new RegExp(`^\\| \`${name}\` \\| ${value}:`, 'm'));
  assert.ok(text.includes(`\`${lease.keyPrefix}\``));
});

test('policy.example.test.yaml passes and decides by every rule', async () => {
  const files = await readPolicyFiles(['policy.example.yaml', 'policy.example.test.yaml'].map(deployed));
  const results = runPolicyTests(files);
  assert.deepEqual(
    results.filter(({ passed }) => !passed),
    [],
  );
  const told = results.map(({ message }) => message).join('\n');
  const names = [...(files[0]?.text ?? '').matchAll(/^ {2}- name: (\S+)$/gm)].map(([, name]) => name);
  assert.equal(names.length, 4);
  for (const name of names) assert.match(told, new RegExp(`rule "${name}" (allows|denies)`));
});

test('compose.yaml mounts files that are there, and what it mounts is a whole configuration with its policy', async () => {
  const countersign = readCompose()['countersign'];
  assert.ok(countersign);
  const mounts = mountsOf(countersign);
  assert.deepEqual([...mounts.keys()], ['/etc/countersign/config.yaml', '/etc/countersign/policy.yaml']);
  const folder = mkdtempSync(join(tmpdir(), 'countersign-compose-'));
  try {
    for (const [target, source] of mounts) copyFileSync(source, join(folder, basename(target)));
    const config = await loadConfig(join(folder, 'config.yaml'), countersign.environment);
    const policy = await readPolicy(config);
    assert.equal(policy.rules.length, 1);
    // What it publishes is what it listens on, and the admin listener is not among it.
    const inner = countersign.ports.map((port) => Number(port.split(':')[2]));
    const listening = [config.listeners.grpc, config.listeners.rest].map((listener) => listener?.address.split(':')[1]);
    assert.deepEqual(inner, listening.map(Number));
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('compose.yaml keeps to itself: ports on loopback only, countersign hardened, every dependency a service', () => {
  const services = readCompose();
  for (const [name, { ports, depends_on: dependencies }] of Object.entries(services)) {
    for (const port of ports) assert.match(port, /^127\.0\.0\.1:\d+:\d+$/, name);
    for (const dependency of Object.keys(dependencies)) assert.ok(services[dependency], `${name}: ${dependency}`);
  }
  assert.equal(services['countersign']?.read_only, true);
  assert.deepEqual(services['countersign']?.cap_drop, ['ALL']);
});

test("the README's configuration and policy are whole, and fit each other", async () => {
  const readme = readFileSync(join(deployFolder, '..', 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^( *)```yaml\n([\s\S]*?)^ *```$/gm)].map(([, indent = '', block = '']) =>
    block.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  );
  const [config, policy, ...more] = blocks;
  assert.ok(config !== undefined && policy !== undefined && more.length === 0, `${blocks.length} YAML blocks`);
  const folder = mkdtempSync(join(tmpdir(), 'countersign-readme-'));
  try {
    writeFileSync(join(folder, 'config.yaml'), config);
    writeFileSync(join(folder, 'policy.yaml'), policy);
    const { rules } = await readPolicy(await loadConfig(join(folder, 'config.yaml'), environment));
    assert.equal(rules.length, 1);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('every example is covered here', () => {
  const examples = globSync('*.example*', { cwd: deployFolder }).sort();
  assert.deepEqual(examples, [
    'compose.config.example.yaml',
    'compose.policy.example.yaml',
    'config.example.yaml',
    'policy.example.test.yaml',
    'policy.example.yaml',
    'registry-credentials.example.yaml',
  ]);
  assert.ok(existsSync(join(deployFolder, '..', readCompose()['countersign']?.build === '..' ? 'Dockerfile' : '')));
});

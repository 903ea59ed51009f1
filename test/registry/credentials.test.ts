import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadCredentials, parseDockerConfig } from '../../src/registry/credentials.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { vectorsPath, vectorsPresent } from '../vectors.ts';
import { isError } from './world.ts';

/** Without the vectors these tests say so and check nothing; in CI that fails. */
const absent = !vectorsPresent && process.env.CI === undefined;

const vector = (name: string): Promise<string> => readFile(vectorsPath('05-oci', 'docker-config', name), 'utf8');

test('docker configurations of oras-go', async (t) => {
  if (absent) return t.diagnostic('the third-party vectors 05-oci are absent: not checked');
  const valid = parseDockerConfig(await vector('valid_auths_config.json'), 'config.json').credentials;
  const basic = { kind: 'basic', username: 'username', password: 'password' };
  assert.deepEqual(valid.get('registry1.example.com'), basic);
  assert.deepEqual(valid.get('registry2.example.com'), { kind: 'identity-token', token: 'identity_token' });
  assert.deepEqual(valid.get('registry3.example.com'), { kind: 'registry-token', token: 'registry_token' });
  assert.deepEqual(valid.get('registry4.example.com'), { kind: 'registry-token', token: 'registry_token' });
  assert.equal(valid.get('registry5.example.com'), undefined);
  assert.deepEqual(valid.get('registry6.example.com'), basic);
  assert.deepEqual(valid.get('registry7.example.com'), basic);

  const legacy = parseDockerConfig(await vector('legacy_auths_config.json'), 'config.json').credentials;
  for (const index of [1, 2, 3, 4, 5, 6]) {
    const wanted = { kind: 'basic', username: `username${index}`, password: `password${index}` };
    assert.deepEqual(legacy.get(`registry${index}.example.com`), wanted);
  }
  for (const empty of ['empty.json', 'whitespace.json', 'no_auths_config.json']) {
    assert.equal(parseDockerConfig(await vector(empty), 'config.json').credentials.size, 0);
  }
  for (const bad of ['bad_config', 'invalid_auths_config.json', 'invalid_auths_entry_config.json']) {
    const text = await vector(bad);
    assert.throws(
      () => parseDockerConfig(text, 'config.json'),
      isError('failed_precondition', 'DOCKER_CONFIG_INVALID'),
    );
  }
});

test('credential helpers are named in a warning, what auths holds still counts', async (t) => {
  if (absent) return t.diagnostic('the third-party vectors 05-oci are absent: not checked');
  const { credentials, warnings } = parseDockerConfig(await vector('credHelpers_config.json'), 'config.json');
  assert.equal(credentials.size, 2);
  assert.equal(warnings.length, 2);
  assert.match(warnings.join('\n'), /registry1-helper.*registry1\.example\.com.*\n.*registry2-helper/);
  const store = parseDockerConfig(await vector('credsStore_config.json'), 'config.json');
  assert.match(store.warnings.join('\n'), /test-helper[\s\S]*teststore/);
});

test('hosts are matched exactly, Docker Hub under all its names, and the settings win', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'credentials-'));
  t.after(() => rm(folder, { recursive: true }));
  const file = join(folder, 'config.json');
  const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
  const auths = {
    'https://index.docker.io/v1/': auth('hub:secret:with:colons'),
    'registry.example:5000': auth('port:secret'),
    'registry.example': auth('docker:secret'),
  };
  await writeFile(file, JSON.stringify({ auths }));
  const settings = registrySettings.parse({
    dockerConfig: file,
    credentials: {
      'registry.example': { username: 'settings', password: 'secret' },
      'token.example': { identityToken: 'refresh' },
    },
  });
  const { credentials } = await loadCredentials(settings);
  for (const hub of ['index.docker.io', 'docker.io', 'registry-1.docker.io']) {
    assert.deepEqual(credentials(hub), { kind: 'basic', username: 'hub', password: 'secret:with:colons' });
  }
  assert.deepEqual(credentials('registry.example:5000'), { kind: 'basic', username: 'port', password: 'secret' });
  assert.deepEqual(credentials('registry.example'), { kind: 'basic', username: 'settings', password: 'secret' });
  assert.deepEqual(credentials('token.example'), { kind: 'identity-token', token: 'refresh' });
  for (const other of [
    'registry.example:443',
    'evil-registry.example',
    'registry.example.evil',
    'sub.registry.example',
  ]) {
    assert.equal(credentials(other), undefined, other);
  }
});

test('a file that cannot be read is named; no error quotes a secret', async () => {
  const settings = registrySettings.parse({ dockerConfig: '/nonexistent/config.json' });
  await assert.rejects(loadCredentials(settings), (error: Error) => {
    assert.match(error.message, /\/nonexistent\/config\.json.*ENOENT/);
    return isError('failed_precondition', 'DOCKER_CONFIG_INVALID')(error);
  });
  for (const text of [
    '{"auths": hunter2',
    '{"auths":{"a.example":{"auth":"hunter2"}}}',
    '{"auths":{"a.example":"hunter2"}}',
  ]) {
    assert.throws(
      () => parseDockerConfig(text, 'config.json'),
      (error: Error) => !`${error.message} ${String(error.cause)} ${error.stack}`.includes('hunter2'),
    );
  }
});

test('the settings refuse what they do not know', () => {
  const defaults = { plainHttpHosts: [], credentials: {}, destinations: [], settleMs: 1_000, tries: 3 };
  assert.deepEqual(registrySettings.parse({}), defaults);
  assert.equal(registrySettings.safeParse({ plainHttpHost: ['a.example'] }).success, false);
  assert.equal(registrySettings.safeParse({ plainHttpHosts: ['http://a.example'] }).success, false);
  assert.equal(registrySettings.safeParse({ credentials: { 'a.example': { username: 'a' } } }).success, false);
});

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { parseDockerConfig } from '../../src/registry/credentials/docker-config.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';
import { eventually, inspected, load } from './credential-world.ts';
import { isError, within } from './world.ts';

/** Without the vectors these tests say so and check nothing; in CI that fails. */

const vector = (name: string): Promise<string> => readFile(vectorsPath('05-oci', 'docker-config', name), 'utf8');

test('docker configurations of oras-go', { skip: skipWithoutVectors }, async () => {
  const valid = parseDockerConfig(await vector('valid_auths_config.json'), 'config.json').auths;
  const basic = { kind: 'basic', username: 'username', password: 'password' };
  assert.deepEqual(valid.get('registry1.example.com'), basic);
  assert.deepEqual(valid.get('registry2.example.com'), { kind: 'identity-token', token: 'identity_token' });
  assert.deepEqual(valid.get('registry3.example.com'), { kind: 'registry-token', token: 'registry_token' });
  assert.deepEqual(valid.get('registry4.example.com'), { kind: 'registry-token', token: 'registry_token' });
  assert.equal(valid.get('registry5.example.com'), undefined);
  assert.deepEqual(valid.get('registry6.example.com'), basic);
  assert.deepEqual(valid.get('registry7.example.com'), basic);

  const legacy = parseDockerConfig(await vector('legacy_auths_config.json'), 'config.json').auths;
  for (const index of [1, 2, 3, 4, 5, 6]) {
    const wanted = { kind: 'basic', username: `username${index}`, password: `password${index}` };
    assert.deepEqual(legacy.get(`registry${index}.example.com`), wanted);
  }
  for (const empty of ['empty.json', 'whitespace.json', 'no_auths_config.json']) {
    assert.equal(parseDockerConfig(await vector(empty), 'config.json').auths.size, 0);
  }
  for (const bad of ['bad_config', 'invalid_auths_config.json', 'invalid_auths_entry_config.json']) {
    const text = await vector(bad);
    assert.throws(
      () => parseDockerConfig(text, 'config.json'),
      isError('failed_precondition', 'DOCKER_CONFIG_INVALID'),
    );
  }
});

test('credential helpers and the store are read from where docker has them', { skip: skipWithoutVectors }, async () => {
  const { auths, helpers } = parseDockerConfig(await vector('credHelpers_config.json'), 'config.json');
  assert.equal(auths.size, 2);
  assert.equal(helpers.get('registry1.example.com'), 'registry1-helper');
  assert.equal(helpers.get('registry2.example.com'), 'registry2-helper');
  const both = parseDockerConfig(await vector('credsStore_config.json'), 'config.json');
  assert.equal(both.store, 'teststore');
  assert.equal(both.helpers.size, 1);
});

test('a helper whose name is no name of a program is refused, in no words of the file', () => {
  for (const name of ['../evil', 'a/b', 'a b', '-x', 'a;reboot', '$(id)', '.']) {
    for (const text of [JSON.stringify({ credHelpers: { 'a.example': name } }), JSON.stringify({ credsStore: name })]) {
      assert.throws(
        () => parseDockerConfig(text, 'config.json'),
        (error: Error) =>
          !error.message.includes(name) || name === '.'
            ? isError('failed_precondition', 'DOCKER_CONFIG_INVALID')(error)
            : false,
        text,
      );
    }
  }
});

const folderOf = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'credentials-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
};

const auth = (text: string) => ({ auth: Buffer.from(text).toString('base64') });
const basic = (username: string, password: string) => ({ kind: 'basic', username, password });

test('hosts are matched exactly, Docker Hub under all its names, and the settings win', async (t) => {
  const file = join(await folderOf(t), 'config.json');
  const auths = {
    'https://index.docker.io/v1/': auth('hub:secret:with:colons'),
    'registry.example:5000': auth('port:secret'),
    'registry.example': auth('docker:secret'),
  };
  await writeFile(file, JSON.stringify({ auths }));
  const { at, names } = await load({
    dockerConfig: file,
    credentials: {
      'registry.example': { username: 'settings', password: 'secret' },
      'token.example': { identityToken: 'refresh' },
    },
  });
  for (const hub of ['index.docker.io', 'docker.io', 'registry-1.docker.io']) {
    assert.deepEqual(await at(hub), basic('hub', 'secret:with:colons'));
    assert.equal(names(hub), true);
  }
  assert.deepEqual(await at('registry.example:5000'), basic('port', 'secret'));
  assert.deepEqual(await at('registry.example'), basic('settings', 'secret'));
  assert.deepEqual(await at('token.example'), { kind: 'identity-token', token: 'refresh' });
  for (const other of [
    'registry.example:443',
    'evil-registry.example',
    'registry.example.evil',
    'sub.registry.example',
  ]) {
    assert.equal(await at(other), undefined, other);
    assert.equal(names(other), false, other);
  }
});

test('secrets in files are read again when they change, at once when they were refused', async (t) => {
  const folder = await folderOf(t);
  const files = {
    password: join(folder, 'password'),
    token: join(folder, 'token'),
    docker: join(folder, 'config.json'),
  };
  const write = async (file: string, content: string): Promise<void> => {
    // As secrets are mounted: another file in its place.
    await writeFile(`${file}.new`, content);
    await rename(`${file}.new`, file);
  };
  await write(files.password, 'first\n');
  await write(files.token, 'refresh-1');
  await write(files.docker, JSON.stringify({ auths: { 'c.example': auth('robot:first') } }));
  const { at, credentials, names, warnings } = await load({
    dockerConfig: files.docker,
    credentials: {
      'a.example': { username: 'robot', passwordFile: files.password },
      'b.example': { identityTokenFile: files.token },
    },
  });
  assert.deepEqual(await at('a.example'), basic('robot', 'first'));
  assert.deepEqual(await at('b.example'), { kind: 'identity-token', token: 'refresh-1' });
  assert.deepEqual([names('c.example'), names('d.example')], [true, false]);

  const old = await at('a.example');
  await write(files.password, 'second');
  assert.deepEqual(await credentials('a.example', within(5_000), old), basic('robot', 'second'));
  await write(files.docker, JSON.stringify({ auths: { 'd.example': auth('robot:second') } }));
  await eventually(async () => assert.deepEqual(await at('d.example'), basic('robot', 'second')));
  assert.equal(await at('c.example'), undefined);
  assert.deepEqual([names('c.example'), names('d.example')], [false, true]);

  await write(files.docker, '{"auths": hunter2');
  await write(files.token, '');
  await eventually(async () => {
    await at('b.example');
    await at('d.example');
    assert.equal(warnings.length, 2);
  });
  assert.deepEqual(await at('d.example'), basic('robot', 'second'), 'what it said before counts');
  assert.deepEqual(await at('b.example'), { kind: 'identity-token', token: 'refresh-1' });
  assert.doesNotMatch(inspected(warnings), /hunter2|refresh-1/);
});

test('a file that cannot be read is named; no error quotes a secret', async (t) => {
  await assert.rejects(load({ dockerConfig: '/nonexistent/config.json' }), (error: Error) => {
    assert.match(error.message, /\/nonexistent\/config\.json.*ENOENT/);
    return isError('failed_precondition', 'DOCKER_CONFIG_INVALID')(error);
  });
  const folder = await folderOf(t);
  const lines = join(folder, 'lines');
  await writeFile(lines, 'hunter2\nhunter3\n');
  const large = join(folder, 'large');
  await writeFile(large, Buffer.alloc(1024 * 1024 + 1, 0x20));
  for (const passwordFile of ['/nonexistent/password', lines, large]) {
    const loading = load({ credentials: { 'a.example': { username: 'robot', passwordFile } } });
    await assert.rejects(loading, (error: Error) => {
      assert.doesNotMatch(inspected(error), /hunter/);
      assert(error.message.includes(passwordFile) && error.message.includes('a.example'), error.message);
      return isError('failed_precondition', 'REGISTRY_CREDENTIAL_UNAVAILABLE')(error);
    });
  }
  await assert.rejects(load({ dockerConfig: large }), isError('failed_precondition', 'DOCKER_CONFIG_INVALID'));
  for (const text of [
    '{"auths": hunter2',
    '{"auths":{"a.example":{"auth":"hunter2"}}}',
    '{"auths":{"a.example":"hunter2"}}',
  ]) {
    assert.throws(
      () => parseDockerConfig(text, 'config.json'),
      (error: Error) => !inspected(error).includes('hunter2'),
    );
  }
});

test('the settings refuse what they do not know, and show the right form without a secret', () => {
  const lists = { plainHttpHosts: [], destinations: [], helperEnvironment: [] };
  assert.deepEqual(registrySettings.parse({}), { ...lists, credentials: {}, settleMs: 1_000, tries: 3 });
  assert.equal(registrySettings.safeParse({ plainHttpHost: ['a.example'] }).success, false);
  assert.equal(registrySettings.safeParse({ plainHttpHosts: ['http://a.example'] }).success, false);
  const problem = (host: string, credential: object, more: object = {}): string => {
    const { error } = registrySettings.safeParse({ ...more, credentials: { [host]: credential } });
    assert.doesNotMatch(inspected(error), /hunter2/);
    return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n');
  };
  const forms = /must be \{ username, password or passwordFile \}/;
  for (const bad of [
    {},
    { username: 'robot' },
    { password: 'hunter2' },
    { username: 'robot', password: 'hunter2', passwordFile: '/f' },
    { username: 'robot', password: 'hunter2', helper: 'pass' },
    { identityToken: 'hunter2', identityTokenFile: '/f' },
    { identityToken: 'hunter2', username: 'robot' },
    { ambient: 'ecr', helper: 'ecr-login' },
    { clientId: '00000000-0000-0000-0000-000000000000' },
    { tokenFile: '/f' },
  ]) {
    assert.match(problem('a.example', bad), forms, JSON.stringify(bad));
  }
  assert.match(problem('a.example', { helper: '../evil' }), /docker-credential-NAME/);
  assert.match(
    problem('acmeinc.azurecr.io', { ambient: 'acr', tokenFile: '/f' }),
    /tokenFile: is for ambient: ghcr only/,
  );
  assert.match(problem('ghcr.io', { ambient: 'ghcr', clientId: 'x' }), /clientId/);
  const account = '111122223333.dkr.ecr.eu-central-1';
  for (const [ambient, host] of [
    ['ecr', 'a.example'],
    ['ecr', `${account}.amazonaws.com.evil.example`],
    ['ecr', 'evil.dkr.ecr.eu-central-1.amazonaws.com'],
    ['ecr', `${account}.amazonaws.com:8443`],
    ['acr', 'acmeinc.azurecr.io.evil.example'],
    ['acr', 'evil.example'],
    ['artifact-registry', 'pkg.dev.evil.example'],
    ['artifact-registry', 'evil.gcr.io'],
    ['ghcr', 'ghcr.io.evil.example'],
  ] as const) {
    assert.match(problem(host, { ambient }), /ambient: .* is for registries called /, `${ambient} ${host}`);
  }
  for (const [ambient, host] of [
    ['ecr', `${account}.amazonaws.com`],
    ['ecr', '111122223333.dkr.ecr-fips.us-gov-west-1.amazonaws.com'],
    ['ecr', '111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn'],
    ['ecr', '111122223333.dkr-ecr.eu-central-1.on.aws'],
    ['ecr', 'public.ecr.aws'],
    ['artifact-registry', 'europe-west3-docker.pkg.dev'],
    ['artifact-registry', 'eu.gcr.io'],
    ['acr', 'acmeinc.azurecr.io'],
    ['acr', 'acmeinc-a1b2c3d4.azurecr.io'],
    ['acr', 'acmeinc.azurecr.cn'],
    ['ghcr', 'ghcr.io'],
    ['ghcr', 'containers.acme.ghe.com'],
  ] as const) {
    assert.equal(problem(host, { ambient }), '', `${ambient} ${host}`);
    assert.match(problem(host, { ambient }, { plainHttpHosts: [host] }), /not sent over plain http/);
  }
});

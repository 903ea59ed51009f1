import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HttpClient, HttpRequest } from '../../src/net/port.ts';
import { allowEntryProblem, createAllowList } from '../../src/registry/allow-list.ts';
import { namedRegistry } from '../../src/registry/named.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import { registrySettings } from '../../src/registry/settings.ts';
import { bundle, isError, resolve, within } from './world.ts';

const fits = (entry: string, name: string): boolean => {
  const slash = name.indexOf('/');
  const target = { registry: name.slice(0, slash), repository: name.slice(slash + 1) };
  try {
    createAllowList([entry]).check(target);
    return true;
  } catch (error) {
    return !isError('permission_denied', 'REGISTRY_NOT_ALLOWED')(error);
  }
};

test('entries: a host, a host with a path, stars', () => {
  const cases: readonly [entry: string, name: string, fits: boolean][] = [
    ['registry.example', 'registry.example/acme/app', true],
    ['registry.example', 'registry.example:5000/acme/app', false],
    ['registry.example', 'registry.example.evil.example/acme/app', false],
    ['registry.example', 'evil-registry.example/acme/app', false],
    ['registry.example:443', 'registry.example/acme/app', true],
    ['registry.example:5000', 'registry.example:5000/app', true],
    ['registry.example/**', 'registry.example/acme/app', true],
    ['registry.example/acme', 'registry.example/acme', true],
    ['registry.example/acme', 'registry.example/acme/app', false],
    ['registry.example/acme/*', 'registry.example/acme/app', true],
    ['registry.example/acme/*', 'registry.example/acme/app/more', false],
    ['registry.example/acme/*', 'registry.example/acme', false],
    ['registry.example/acme/**', 'registry.example/acme/app/more', true],
    ['registry.example/acme/**', 'registry.example/acme', false],
    ['registry.example/acme/**', 'registry.example/acmes/app', false],
    ['registry.example/team-*/app', 'registry.example/team-a/app', true],
    ['registry.example/team-*/app', 'registry.example/teams/app', false],
    ['*.example', 'a.b.example/app', true],
    ['*.example', 'example/app', false],
    ['*.example', 'a.example.evil/app', false],
    ['docker.io/library/*', 'index.docker.io/library/nginx', true],
    ['index.docker.io', 'index.docker.io/acme/app', true],
    ['[fd00::1]:5000', '[fd00::1]:5000/app', true],
  ];
  for (const [entry, name, expected] of cases) assert.equal(fits(entry, name), expected, `${entry} ${name}`);
});

test('entries that are none are refused with the reason; an empty list too', () => {
  for (const bad of [
    '',
    'https://registry.example',
    'Registry.example',
    'registry.example/',
    'registry.example/a:tag',
    'registry.example/a@sha256:00',
    'registry.example/**/app',
    'registry.example/a**',
    'registry.example/a*b*c',
    '**',
    'registry.example:99999',
    'user@registry.example',
  ]) {
    assert.notEqual(allowEntryProblem(bad), undefined, bad);
    assert.equal(registrySettings.safeParse({ allow: [bad] }).success, false, bad);
  }
  assert.equal(registrySettings.safeParse({ allow: [] }).success, false);
  assert.deepEqual(registrySettings.parse({ allow: ['registry.example/acme/**'] }).allow, ['registry.example/acme/**']);
});

test('what is spelled out is named, with its port; a star names nothing', () => {
  const list = createAllowList(['registry.example/acme/*', 'other.example:5000', '*.corp.example']);
  assert.equal(list.names('registry.example'), true);
  assert.equal(list.names('registry.example:8443'), false);
  assert.equal(list.names('other.example:5000'), true);
  assert.equal(list.names('other.example'), false);
  assert.equal(list.names('a.corp.example'), false);
  assert.equal(createAllowList(undefined).names('registry.example'), false);
});

test('the configuration names what it spells out, what it has credentials for, and what the policy in force spells out', () => {
  const settings = registrySettings.parse({
    allow: ['listed.example/**'],
    destinations: [
      {
        repositories: ['images.example/acme/*', '*.wild.example'],
        signatureRepository: 'signatures.example:5000/acme/sigs',
      },
    ],
  });
  let rules: readonly string[] = [
    'policy.example:5000/acme/*',
    'docker.io/acme/*',
    '*.policy.example/**',
    'no-path.example**',
  ];
  const named = namedRegistry(
    settings,
    (host) => host === 'known.example',
    () => rules,
  );
  const spelled = ['listed.example', 'images.example', 'signatures.example:5000', 'known.example'];
  for (const host of [...spelled, 'policy.example:5000', 'registry-1.docker.io']) assert.equal(named(host), true, host);
  for (const host of ['policy.example', 'a.policy.example', 'no-path.example']) assert.equal(named(host), false, host);
  rules = ['later.example/**'];
  assert.deepEqual([named('later.example'), named('policy.example:5000')], [true, false]);
  for (const host of ['signatures.example', 'known.example:22', 'a.wild.example', 'other.example']) {
    assert.equal(named(host), false, host);
  }
});

test('a registry that is not listed is not asked: not for an image, not for signatures elsewhere', async () => {
  const asked: HttpRequest[] = [];
  const http: HttpClient = {
    request: async (request) => {
      asked.push(request);
      return { status: 404, headers: {}, body: Buffer.alloc(0), url: request.url };
    },
    close: async () => {},
  };
  const allow = ['registry.example/acme/*'];
  const registry = createRegistry({ http, credentials: () => undefined, plainHttpHosts: [], allow, tries: 3 });
  const digest = `sha256:${'a'.repeat(64)}` as const;
  const image = {
    registry: 'registry.example',
    repository: 'acme/app',
    descriptor: { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 10 },
  };
  for (const refused of [
    () => resolve(registry, 'other.example/acme/app:v1'),
    () => resolve(registry, 'registry.example/umbrella/app:v1'),
    () => resolve(registry, 'nginx'),
    () => registry.attach(image, bundle('b'), 'other.example/acme/app', within(5_000)),
    () => registry.attachments(image, 'registry.example/umbrella/app', within(5_000)),
  ]) {
    await assert.rejects(refused, (error: Error) => {
      assert.match(error.message, /registry\.allow/);
      return isError('permission_denied', 'REGISTRY_NOT_ALLOWED')(error);
    });
  }
  assert.deepEqual(asked, []);
  await assert.rejects(resolve(registry, 'registry.example/acme/app:v1'), isError('not_found'));
  assert.equal(asked.length, 1);
});

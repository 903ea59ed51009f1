import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { formatReference, parseReference, parseRepository } from '../../src/registry/reference.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';

/** Without the vectors these tests say so and check nothing; in CI that fails. */

const digest = `sha256:${'f'.repeat(64)}`;

const refused = (text: string, pattern: RegExp): void => {
  assert.throws(
    () => parseReference(text, 'subject.image'),
    (error) => {
      assert(error instanceof CountersignError);
      assert.equal(error.code, 'invalid_argument');
      assert.equal(error.violations[0]?.field, 'subject.image');
      assert.match(error.violations[0]?.description ?? '', pattern);
      return true;
    },
    text,
  );
};

test('shortcuts of Docker Hub are expanded as go-containerregistry does', () => {
  for (const text of [
    'nginx',
    'library/nginx',
    'docker.io/nginx',
    'docker.io/library/nginx',
    'index.docker.io/nginx',
  ]) {
    assert.deepEqual(parseReference(text), {
      registry: 'index.docker.io',
      repository: 'library/nginx',
      tag: undefined,
      digest: undefined,
    });
  }
  assert.equal(formatReference(parseReference('acme/app:v1')), 'index.docker.io/acme/app:v1');
});

test('host, port, tag and digest are taken apart and put together again', () => {
  const text = `registry.example:5000/acme/app:v1@${digest}`;
  const reference = parseReference(text);
  assert.equal(reference.registry, 'registry.example:5000');
  assert.equal(reference.repository, 'acme/app');
  assert.equal(reference.tag, 'v1');
  assert.equal(reference.digest, digest);
  assert.equal(formatReference(reference), text);
  assert.equal(parseReference('REGISTRY.example/app').registry, 'registry.example');
});

test('each bad reference is refused with what to mend', () => {
  refused('', /empty/);
  refused('https://registry.example/app', /scheme/);
  refused('user:secret@registry.example/app', /user name/);
  refused('registry.example/Acme/app', /lower case/);
  refused(' registry.example/app', /white space/);
  refused('registry.example/app\n', /white space/);
  refused('registry.example/app\u0000', /ASCII/);
  refused('registry.example/äpp', /ASCII/);
  refused(`registry.example/app@sha512:${'f'.repeat(128)}`, /sha256/);
  refused(`registry.example/app@sha256:${'F'.repeat(64)}`, /lower-case/);
  refused(`registry.example/app:${'t'.repeat(129)}`, /tag/);
  refused('registry.example/app:', /tag/);
  refused(`registry.example/${'a'.repeat(256)}`, /255/);
  refused(`registry.example/${'a/'.repeat(1024)}`, /1024/);
  refused('registry.example:port/app', /host/);
  refused('registry.example/../app', /repository/);
  refused('registry.example//app', /repository/);
  refused(`${'f'.repeat(64)}`, /image id/);
});

test('a repository must not carry a tag', () => {
  assert.deepEqual(parseRepository('registry.example/a/b'), { registry: 'registry.example', repository: 'a/b' });
  assert.throws(() => parseRepository('registry.example/a/b:v1'), CountersignError);
});

type Case = { input: string; expect: 'accept' | 'reject'; tag: string; digest: string; repository: string };

test('reference strings of distribution/reference', { skip: skipWithoutVectors }, () => {
  const { cases } = JSON.parse(readFileSync(vectorsPath('05-oci', 'reference-parse-cases.json'), 'utf8')) as {
    cases: Case[];
  };
  assert(cases.length > 40);
  for (const one of cases) {
    // The Go source writes this one as an expression; its name has 255 characters with the domain `a`.
    if (one.input.startsWith('a/a/a/')) continue;
    if (one.expect === 'reject') {
      assert.throws(() => parseReference(one.input), CountersignError, one.input);
      continue;
    }
    const parsed = parseReference(one.input);
    assert.equal(parsed.tag ?? '', one.tag, one.input);
    assert.equal(parsed.digest ?? '', one.digest, one.input);
    const full = `${parsed.registry}/${parsed.repository}`;
    assert(full === one.repository || full.endsWith(`/${one.repository}`), `${one.input}: ${full}`);
  }
});

test('repository names of distribution/reference', { skip: skipWithoutVectors }, () => {
  const names = JSON.parse(readFileSync(vectorsPath('05-oci', 'repo-names.json'), 'utf8')) as {
    validRepoNames: string[];
    invalidRepoNames: string[];
  };
  for (const name of names.validRepoNames) assert.doesNotThrow(() => parseReference(name), name);
  for (const name of names.invalidRepoNames) assert.throws(() => parseReference(name), CountersignError, name);
});

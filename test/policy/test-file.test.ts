import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { readPolicyFiles } from '../../src/policy/read-files.ts';
import { runPolicyTests } from '../../src/policy/test-file.ts';
import { github, known, releaseRule } from './world.ts';

const policy = { path: 'policy.yaml', text: releaseRule() };
const tests = (text: string) => ({ path: 'policy.test.yaml', text });

const good = tests(`tests:
  - name: a tag is signed
    caller: {issuer: ${github}, claims: {repository_id: 456789, ref: refs/tags/v1}}
    request: {verb: sign, key: release, repository: ghcr.io/acme/app, formats: [bundle]}
    expect: allow
    rule: release
  - name: a branch is not
    caller: {issuer: ${github}, claims: {repository_id: "456789", ref: refs/heads/main}}
    request: {verb: sign, key: release, repository: ghcr.io/acme/app}
    expect: deny
    rule: release
  - name: wrong expectation
    caller: {issuer: ${github}, claims: {repository_id: "456789", ref: refs/heads/main}}
    request: {verb: sign, key: release, repository: ghcr.io/acme/app}
    expect: allow
  - name: wrong rule
    caller: {issuer: ${github}, claims: {repository_id: "456789", ref: refs/tags/v1}}
    request: {verb: sign, key: release, repository: ghcr.io/acme/app}
    expect: allow
    rule: other
  - name: a blob is not
    caller: {issuer: ${github}}
    request: {verb: sign, key: release, subject: dist/a.tgz}
    expect: deny
`);

test('runs the tests beside a policy; a failed one says what was expected and why it came otherwise', () => {
  const results = runPolicyTests([policy, good], known);
  assert.deepEqual(
    results.map(({ name, passed, line }) => [name, passed, line]),
    [
      ['a tag is signed', true, 2],
      ['a branch is not', true, 7],
      ['wrong expectation', false, 12],
      ['wrong rule', false, 16],
      ['a blob is not', true, 21],
    ],
  );
  assert.equal(results[0]?.message, 'Policy rule "release" allows this sign.');
  assert.match(
    results[2]?.message ?? '',
    /^expected allow\. No policy rule allows this sign; .*wanted refs\/tags\/\*, had refs\/heads\/main/,
  );
  assert.match(results[3]?.message ?? '', /^expected allow by rule "other"\. Policy rule "release" allows/);
  assert.equal(results[0]?.file, 'policy.test.yaml');
});

test('without a configuration, keys and issuers are not checked; everything else is', () => {
  const elsewhere = { path: 'p.yaml', text: releaseRule().replace('[release]', '[unheard-of]') };
  assert.equal(runPolicyTests([elsewhere]).length, 0);
  assert.throws(() => runPolicyTests([elsewhere], known), /is not configured/);
  assert.throws(
    () => runPolicyTests([{ path: 'p.yaml', text: releaseRule().replace('"456789"', '"*"') }]),
    /does not bind/,
  );
});

test('mistakes in a test file are named with file and line', () => {
  const bad = tests(
    'tests:\n  - name: x\n    caller: {issuer: y}\n    request: {verb: sing}\n    expect: maybe\n    more: 1\n',
  );
  assert.throws(
    () => runPolicyTests([policy, bad], known),
    (error: unknown) => {
      assert.ok(error instanceof CountersignError);
      assert.equal(error.reason, 'POLICY_INVALID');
      assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
        'policy.test.yaml:2: tests[0]',
        'policy.test.yaml:4: tests[0].request.verb',
        'policy.test.yaml:5: tests[0].expect',
      ]);
      return true;
    },
  );
  assert.throws(() => runPolicyTests([policy, tests('tests: [')], known), /policy\.test\.yaml:1: not valid YAML/);
});

test('policy files are read from disk; every one that cannot be is named', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'policy-'));
  const path = join(folder, 'policy.yaml');
  const large = join(folder, 'large.yaml');
  await writeFile(path, policy.text);
  await writeFile(large, ' '.repeat(256 * 1024 + 1));
  assert.deepEqual(await readPolicyFiles([path]), [{ path, text: policy.text }]);
  await assert.rejects(readPolicyFiles([path, large, join(folder, 'absent.yaml')]), (error: unknown) => {
    assert.ok(error instanceof CountersignError);
    assert.match(error.message, /large\.yaml:1: the file is larger than/);
    assert.match(error.message, /absent\.yaml:1: the file cannot be read \(ENOENT\); check the path/);
    return true;
  });
  await rm(folder, { recursive: true });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Question } from '../../src/model/decision.ts';
import type { CountersignError } from '../../src/model/error.ts';
import { decide } from '../../src/policy/decide.ts';
import { policyDenied } from '../../src/policy/denied.ts';
import { claims, github, gitlab, load, question, releaseRule } from './world.ts';

const allowed = (policy: string, asked: Question): boolean => decide(load(policy), asked).allowed;

test('the release rule: who may, who may not, and what was missed', () => {
  const policy = load(releaseRule('    formats: [bundle, dsse]\n'));
  const cases: [Parameters<typeof question>[0], misses: string[]][] = [
    [{}, []],
    [{ repository: 'ghcr.io/acme/a/b' }, []],
    [{ storageRepository: 'ghcr.io/acme/signatures' }, []],
    [{ formats: ['bundle', 'dsse'] }, []],
    [{ formats: ['bundle', 'simple-signing'] }, ['formats']],
    [{ claims: { repository_id: 456789 } }, []],
    [{ claims: { repository_id: ['1', '456789'] } }, []],
    [{ issuer: gitlab }, ['issuer']],
    [{ issuer: `${github}/` }, ['issuer']],
    [{ verb: 'attest' }, ['verb']],
    [{ key: 'staging' }, ['key']],
    [{ key: undefined }, ['key']],
    [{ repository: 'ghcr.io/acme' }, ['subject']],
    [{ repository: 'ghcr.io/acme2/app' }, ['subject']],
    [{ repository: 'ghcr.io.evil/acme/app' }, ['subject']],
    [{ blob: 'ghcr.io/acme/app' }, ['subject']],
    [{ storageRepository: 'evil.example/acme/app' }, ['storageRepository']],
    [{ claims: { repository_id: '4567890' } }, ['claims.repository_id']],
    [{ claims: { repository_id: undefined } }, ['claims.repository_id']],
    [{ claims: { repository_id: null } }, ['claims.repository_id']],
    [{ claims: { repository_id: { 0: '456789' } } }, ['claims.repository_id']],
    [{ claims: { repository_id: [['456789']] } }, ['claims.repository_id']],
    [{ claims: { ref: 'refs/heads/main' } }, ['claims.ref']],
    [{ claims: { ref: 'refs/tags/v1/x' } }, ['claims.ref']],
    [{ claims: { ref: 'refs/heads/main' }, key: 'staging' }, ['claims.ref', 'key']],
  ];
  for (const [parts, misses] of cases) {
    const decision = decide(policy, question(parts));
    assert.equal(decision.allowed, misses.length === 0, JSON.stringify(parts));
    assert.deepEqual(
      decision.reasons[0]?.misses.map(({ condition }) => condition),
      misses,
      JSON.stringify(parts),
    );
    assert.equal(decision.policyHash, policy.hash);
    assert.equal(decision.rule, misses.length === 0 ? 'release' : undefined);
    assert.equal(decision.nearest?.rule, misses.length === 0 ? undefined : 'release');
  }
});

test('a decision carries the claims that its rule looked at, and each miss with what was wanted and had', () => {
  const policy = load(releaseRule('    when: claims.event_name == "push"\n'));
  const yes = decide(policy, question());
  assert.deepEqual(yes.claims, { repository_id: '456789', ref: 'refs/tags/v1.2.3', event_name: 'push' });
  const no = decide(policy, question({ claims: { ref: 'refs/heads/main', repository_id: undefined } }));
  assert.deepEqual(no.nearest?.misses, [
    { condition: 'claims.repository_id', wanted: '456789', had: '(absent)' },
    { condition: 'claims.ref', wanted: 'refs/tags/*', had: 'refs/heads/main' },
  ]);
  const long = decide(policy, question({ claims: { ref: `a\n${'x'.repeat(9000)}` } }));
  assert.ok((long.nearest?.misses[0]?.had.length ?? 0) < 300);
  assert.doesNotMatch(long.nearest?.misses[0]?.had ?? '\n', /\n/);
});

test('no rules, no permission', () => {
  for (const verb of ['sign', 'attest', 'verify', 'read-key'] as const) {
    const decision = decide(load('rules: []'), question({ verb }));
    assert.deepEqual(
      [decision.allowed, decision.rule, decision.nearest, decision.reasons],
      [false, undefined, undefined, []],
    );
  }
});

const withDeny = (deny: string): string => `${releaseRule()}  - name: stop
    effect: deny
    caller: {issuer: ${github}}
    verbs: [sign, attest, verify, read-key]
${deny.replace(/^/gm, '    ')}
`;

test('an explicit deny wins, wherever it stands; what it leaves out it does not limit', () => {
  const cases: [deny: string, asked: Parameters<typeof question>[0], denied: boolean][] = [
    ['', {}, true],
    ['keys: [release]', {}, true],
    ['keys: [staging]', {}, false],
    ['formats: [simple-signing]', { formats: ['bundle', 'simple-signing'] }, true],
    ['formats: [simple-signing]', {}, false],
    ['repositories: ["ghcr.io/acme/app"]', {}, true],
    ['repositories: ["ghcr.io/acme/prod"]', {}, false],
    // Storing elsewhere, or signing elsewhere and storing here, is no way around it.
    ['repositories: ["ghcr.io/acme/app"]', { storageRepository: 'ghcr.io/acme/other' }, true],
    ['repositories: ["ghcr.io/acme/prod"]', { storageRepository: 'ghcr.io/acme/prod' }, true],
    ['subjects: ["**"]', {}, false],
    ['predicateTypes: ["https://spdx.dev/Document"]', {}, false],
    ['when: claims.event_name == "push"', {}, true],
    ['when: claims.event_name == "pull_request"', {}, false],
    // An expression that fails does not open the door.
    ['when: claims.absent == "x"', {}, true],
    ['when: has(claims.absent) && claims.absent == "x"', {}, false],
  ];
  for (const [deny, asked, denied] of cases) {
    const decision = decide(load(withDeny(deny)), question(asked));
    assert.equal(decision.rule, denied ? 'stop' : 'release', deny);
    assert.equal(decision.allowed, !denied, deny);
  }
  const onePart = `rules:\n  - {name: stop, effect: deny, caller: {issuer: "${github}", claims: {event_name: "pull_request*"}}, verbs: sign}\n`;
  const both = onePart + releaseRule().replace('rules:\n', '');
  assert.ok(!allowed(both, question({ claims: { event_name: 'pull_request_target' } })));
  assert.ok(allowed(both, question()));
});

test('when: true lets pass; false, an error and a value that is not a boolean do not, and are reasons', () => {
  const had = (when: string, parts: Parameters<typeof question>[0] = {}): string | undefined => {
    const decision = decide(load(releaseRule(`    when: ${when}\n`)), question(parts));
    assert.equal(decision.allowed, decision.nearest === undefined);
    return decision.nearest?.misses.find(({ condition }) => condition === 'when')?.had;
  };
  const pass = [
    'claims.ref.startsWith("refs/tags/v") && claims.event_name == "push"',
    'request.verb == "sign" && request.key == "release" && request.repository == "ghcr.io/acme/app"',
    '"bundle" in request.formats && request.formats.size() == 1 && request.subject == ""',
    'request.predicateType == "" && request.storageRepository == ""',
    '!("env" in request.annotations)',
    'claims.ref.endsWith("3") && claims.sub.contains(":acme/") || claims.ref.contains("acme") || true',
  ];
  for (const when of pass) assert.equal(had(`'${when}'`), undefined, when);
  assert.equal(had('claims.event_name == "pull_request"'), 'false');
  assert.match(had('claims.no_such_claim == "x"') ?? '', /^an error: field not found: no_such_claim/);
  assert.match(had('claims.flag', { claims: { flag: 'yes' } }) ?? '', /^an error: its value is not true or false/);
  assert.equal(had('claims.flag', { claims: { flag: true } }), undefined);
  assert.equal(had('claims.count > 3', { claims: { count: 4 } }), undefined);
  assert.equal(had('claims.count > 3', { claims: { count: 3 } }), 'false');
  assert.equal(had('\'"b" in claims.groups\'', { claims: { groups: ['a', 'b'] } }), undefined);
  assert.equal(had('request.annotations.env == "prod"', { annotations: { env: 'prod' } }), undefined);
  assert.equal(
    had(`'claims["kubernetes.io"].namespace == "build"'`, { claims: { 'kubernetes.io': { namespace: 'build' } } }),
    undefined,
  );
  for (const name of ['constructor', 'toString', 'hasOwnProperty']) {
    assert.equal(had(`has(claims.${name})`), 'false', name);
    assert.equal(had(`has(claims.nested.${name})`, { claims: { nested: {} } }), 'false', name);
  }
});

test('expressions are not evaluated when something else already misses', () => {
  const decision = decide(load(releaseRule('    when: claims.absent == 1\n')), question({ key: 'staging' }));
  assert.deepEqual(
    decision.nearest?.misses.map(({ condition }) => condition),
    ['key'],
  );
});

const verifyRule = (more: string): string =>
  `rules:\n  - name: v\n    caller: {issuer: "${github}", claims: {sub: "repo:acme/**"}}\n    verbs: [verify, attest, read-key]\n    keys: [release]\n    repositories: ["ghcr.io/**"]\n${more}`;

test('predicate types: by URI or short name on either side; they bind only what has one', () => {
  const policy = verifyRule('    predicateTypes: [slsaprovenance1, "https://acme.example/scan/v1"]\n');
  const cases: [Parameters<typeof question>[0], boolean][] = [
    [{ verb: 'attest', predicateType: 'https://slsa.dev/provenance/v1' }, true],
    [{ verb: 'attest', predicateType: 'slsaprovenance1' }, true],
    [{ verb: 'attest', predicateType: 'https://acme.example/scan/v1' }, true],
    [{ verb: 'attest', predicateType: 'https://slsa.dev/provenance/v1.1' }, false],
    [{ verb: 'attest', predicateType: 'spdxjson' }, false],
    [{ verb: 'verify' }, true],
    [{ verb: 'read-key', subject: undefined }, true],
  ];
  for (const [parts, expected] of cases)
    assert.equal(allowed(policy, question(parts)), expected, JSON.stringify(parts));
});

test('nested claims, booleans, numbers and blobs', () => {
  const policy = `rules:
  - name: blobs
    caller:
      issuer: ${gitlab}
      claims:
        kubernetes.io: {namespace: build, serviceaccount: {uid: [u1, u2]}}
        runner_id: 1
        email_verified: true
    verbs: [sign]
    keys: [blobs]
    subjects: ["dist/*.tgz"]
`;
  const good = {
    'kubernetes.io': { namespace: 'build', serviceaccount: { uid: 'u2' } },
    runner_id: 1,
    email_verified: true,
  };
  const ask = (more: object, blob = 'dist/a.tgz') =>
    question({ issuer: gitlab, claims: { ...good, ...more }, key: 'blobs', blob });
  assert.ok(allowed(policy, ask({})));
  assert.ok(allowed(policy, ask({ runner_id: '1', email_verified: 'true' })));
  assert.ok(!allowed(policy, ask({ email_verified: false })));
  assert.ok(!allowed(policy, ask({ runner_id: 10 })));
  assert.ok(!allowed(policy, ask({ 'kubernetes.io': { namespace: 'build', serviceaccount: { uid: 'u3' } } })));
  assert.ok(!allowed(policy, ask({ 'kubernetes.io': 'build' })));
  assert.ok(!allowed(policy, ask({}, 'dist/x/a.tgz')));
  const stored = decide(load(policy), { ...ask({}), storageRepository: 'ghcr.io/acme/app' });
  assert.deepEqual(
    stored.nearest?.misses.map(({ condition }) => condition),
    ['storageRepository'],
  );
});

const several = `rules:
  - {name: other-issuer, caller: {issuer: "${gitlab}", claims: {sub: x}}, verbs: [sign], keys: [release], repositories: ["**"]}
  - {name: other-verb, caller: {issuer: "${github}", claims: {sub: "repo:acme/**"}}, verbs: [verify]}
  - {name: far, caller: {issuer: "${github}", claims: {sub: "repo:acme/**", ref: refs/heads/x, event_name: y}}, verbs: [sign], keys: [staging], repositories: ["**"]}
  - {name: near, caller: {issuer: "${github}", claims: {sub: "repo:acme/**", ref: refs/heads/main}}, verbs: [sign], keys: [release], repositories: ["**"]}
`;

test('the nearest rule has the fewest misses; a wrong verb or issuer counts for more', () => {
  const decision = decide(load(several), question());
  assert.equal(decision.nearest?.rule, 'near');
  assert.deepEqual(
    decision.reasons.map(({ rule, misses }) => [rule, misses.length]),
    [
      ['other-issuer', 1],
      ['other-verb', 1],
      ['far', 3],
      ['near', 1],
    ],
  );
});

test('a denial as an error: permission_denied with the nearest rule and the claim that missed', () => {
  const denial = (policy: string, asked: Question): CountersignError => {
    const decision = decide(load(policy), asked);
    assert.equal(decision.allowed, false);
    const error = policyDenied(asked, decision);
    assert.equal(`${error.code} ${error.reason}`, 'permission_denied POLICY_DENIED');
    assert.equal(error.metadata.policyHash, load(policy).hash);
    return error;
  };
  const near = denial(several, question());
  assert.equal(
    near.message,
    'No policy rule allows this sign; the nearest is "near", which misses claims.ref: wanted refs/heads/main, had refs/tags/v1.2.3.',
  );
  assert.equal(near.metadata.rule, 'near');
  const stopped = denial(withDeny(''), question());
  assert.equal(stopped.message, 'Policy rule "stop" denies this sign.');
  assert.equal(stopped.metadata.rule, 'stop');
  const none = denial('rules: []', question());
  assert.match(none.message, /there are no rules/);
  assert.equal(none.metadata.rule, undefined);
});

test('claim names and values of strangers never reach a prototype', () => {
  const policy = `rules:\n  - {name: p, caller: {issuer: "${github}", claims: {sub: "repo:acme/**", constructor: "**", nested: {toString: "**"}}}, verbs: verify}\n`;
  const decision = decide(load(policy), question({ verb: 'verify', claims: { nested: {} } }));
  assert.deepEqual(
    decision.nearest?.misses.map(({ had }) => had),
    ['(absent)', '(absent)'],
  );
});

test('decide is total and repeatable for any claims, and denies without the stable claim', () => {
  const policy = load(releaseRule('    when: claims.event_name == "push" && request.annotations.a != "b"\n'));
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.dictionary(fc.string(), fc.string()),
      (more, annotations) => {
        const asked = question({ claims: { ...more, repository_id: undefined }, annotations });
        const decision = decide(policy, asked);
        assert.equal(decision.allowed, false);
        assert.deepEqual(decide(policy, asked), decision);
      },
    ),
  );
});

test('twenty rules are decided in microseconds', () => {
  const rules = Array.from({ length: 20 }, (_, index) =>
    releaseRule('    when: claims.event_name == "push"\n')
      .replace('rules:\n', '')
      .replace('name: release', `name: release-${index}`)
      .replace('456789', `${index}`),
  );
  const policy = load(`rules:\n${rules.join('')}`);
  const asked = { ...question(), caller: { ...question().caller, claims: claims({ repository_id: '19' }) } };
  assert.equal(decide(policy, asked).rule, 'release-19');
  const rounds = 5000;
  for (let round = 0; round < rounds; round++) decide(policy, asked);
  const started = performance.now();
  for (let round = 0; round < rounds; round++) decide(policy, asked);
  const microseconds = ((performance.now() - started) * 1000) / rounds;
  // The aim is 20; the bar leaves room for a busy machine.
  assert.ok(microseconds < 100, `${microseconds.toFixed(1)} us`);
});

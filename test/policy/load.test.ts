import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CountersignError } from '../../src/model/error.ts';
import { loadPolicy } from '../../src/policy/load.ts';
import { github, known, load, releaseRule } from './world.ts';

const refusal = (attempt: () => unknown): CountersignError => {
  try {
    attempt();
  } catch (error) {
    assert.ok(error instanceof CountersignError, String(error));
    assert.equal(`${error.code} ${error.reason}`, 'invalid_argument POLICY_INVALID');
    return error;
  }
  return assert.fail('the policy was accepted');
};

/** The mistakes in a policy text, one line each: `policy.yaml:<line>: <path>: <problem>; <fix>`. */
const mistakes = (text: string): string[] =>
  refusal(() => load(text))
    .message.split('\n')
    .slice(1);

/** The release rule with one line replaced (by several, or none). */
const changed = (line: RegExp, replacement: string): string => {
  const text = releaseRule();
  assert.match(text, line);
  return text.replace(line, replacement);
};

test('a good policy loads; its hash depends on what the rules say and on nothing else', () => {
  const policy = load(releaseRule());
  assert.match(policy.hash, /^sha256:[0-9a-f]{64}$/);
  assert.deepEqual(
    policy.rules.map(({ name, effect }) => [name, effect]),
    [['release', 'allow']],
  );
  assert.equal(load(`# a comment\n${releaseRule()}`, 'other.yaml').hash, policy.hash);
  assert.equal(load(changed(/verbs: \[sign\]/, 'verbs: sign')).hash, policy.hash);
  assert.notEqual(load(changed(/refs\/tags\/\*/, 'refs/tags/**')).hash, policy.hash);
  assert.equal(load('rules: []').rules.length, 0);
});

test('each mistake is named with file, line, path and fix', () => {
  const cases: [text: string, expected: RegExp][] = [
    // Shape
    ['', /^policy\.yaml:1: the file is not a map; write a list of rules/],
    ['- a', /^policy\.yaml:1: the file is not a map/],
    ['rules: {}', /^policy\.yaml:1: rules: must be a list/],
    ['rule:\n  - a', /^policy\.yaml:1: rule: unknown field "rule"; did you mean "rules"\?/],
    ['rules:\n  - a', /^policy\.yaml:2: rules\[0\]: must be a map/],
    [changed(/name: release/, 'name: "re lease"'), /^policy\.yaml:2: rules\[0\]\.name: must be 1 to 63 letters/],
    [
      changed(/- name: release/, '- description: x'),
      /^policy\.yaml:2: rules\[0\]\.name: is missing; give the rule a unique name/,
    ],
    [
      releaseRule('    efect: deny\n'),
      /^policy\.yaml:11: rules\[0\]\.efect: unknown field "efect"; did you mean "effect"\?/,
    ],
    [
      releaseRule('    effect: denny\n'),
      /^policy\.yaml:11: rules\[0\]\.effect: unknown value "denny"; did you mean "deny"\?/,
    ],
    [
      changed(/verbs: \[sign\]/, 'verbs: [sing]'),
      /^policy\.yaml:8: rules\[0\]\.verbs\[0\]: unknown value "sing"; did you mean "sign"\?/,
    ],
    [changed(/ {4}verbs: \[sign\]\n/, ''), /rules\[0\]\.verbs: is missing; list one or more of sign, attest/],
    [changed(/verbs: \[sign\]/, 'verbs: []'), /rules\[0\]\.verbs: is an empty list/],
    [
      releaseRule('    formats: [bundel]\n'),
      /:11: rules\[0\]\.formats\[0\]: unknown value "bundel"; did you mean "bundle"\?/,
    ],
    [changed(/claims:/, 'claim:'), /:5: rules\[0\]\.caller\.claim: unknown field "claim"; did you mean "claims"\?/],
    // Caller
    [changed(/ {4}caller:\n(?: {6}.*\n)+/, ''), /:2: rules\[0\]\.caller: is missing; add caller/],
    [changed(/ {6}issuer: .*\n/, ''), /:3: rules\[0\]\.caller\.issuer: is missing; write the exact "iss"/],
    [
      changed(/issuer: .*/, `issuer: ${github}/`),
      /:4: rules\[0\]\.caller\.issuer: the issuer ".*\/" is not configured; did you mean "https:\/\/token\.actions/,
    ],
    [changed(/issuer: .*/, 'issuer: https://*.githubusercontent.com'), /caller\.issuer: an issuer is compared exactly/],
    [changed(/issuer: .*/, 'issuer: ""'), /caller\.issuer: is empty/],
    [
      changed(/ {6}claims:\n(?: {8}.*\n)+/, ''),
      /:3: rules\[0\]\.caller\.claims: the rule binds no claim .*; bind one of: sub, repository_id/,
    ],
    [changed(/ {8}repository_id: .*\n/, ''), /:5: rules\[0\]\.caller\.claims: the rule binds no claim/],
    [changed(/repository_id: .*/, 'repository: acme/app'), /binds no claim/],
    [
      changed(/repository_id: .*/, 'repository_id: "*"'),
      /:6: rules\[0\]\.caller\.claims\.repository_id: does not bind .*; a glob over an id/,
    ],
    [changed(/repository_id: .*/, 'repository_id: "45*"'), /a glob over an id/],
    [changed(/repository_id: .*/, 'repository_id: ["456789", "4*"]'), /a glob over an id/],
    [changed(/repository_id: .*/, 'sub: "**"'), /claims\.sub: does not bind .*; a glob that begins with a star/],
    [changed(/repository_id: .*/, 'sub: "*:acme/app:*"'), /a glob that begins with a star/],
    [changed(/repository_id: .*/, 'sub: "re**"'), /the fixed part "re" does not name one owner/],
    [changed(/repository_id: .*/, 'sub: "repo:**"'), /the fixed part "repo:" does not name one owner/],
    [changed(/repository_id: .*/, 'sub: "repo:acme*/app:**"'), /the fixed part "repo:acme" does not name one owner/],
    [changed(/repository_id: .*/, 'sub: "system:serviceaccount:*:signer"'), /does not name one owner/],
    [changed(/repository_id: .*/, 'sub: "spiffe://*/ci"'), /does not name one owner/],
    [changed(/repository_id: .*/, 'sub: ""'), /claims\.sub: the pattern is empty/],
    [changed(/ref: .*/, 'ref: "refs/***"'), /claims\.ref: the pattern has three stars/],
    [changed(/ref: .*/, 'ref: []'), /claims\.ref: is an empty list/],
    [changed(/ref: .*/, 'ref:'), /claims\.ref: the pattern is empty/],
    [changed(/ref: .*/, 'environment: рrod'), /:7: .*environment: the pattern holds characters that are not ASCII/],
    // Request
    [
      changed(/keys: .*/, 'keys: [relaese]'),
      /:9: rules\[0\]\.keys: the key "relaese" is not configured; did you mean "release"\?/,
    ],
    [
      changed(/keys: .*/, 'keys: [release, "*"]'),
      /:9: rules\[0\]\.keys\[1\]: the key "\*" is not configured; use one of: release, staging, blobs/,
    ],
    [changed(/ {4}keys: .*\n/, ''), /rules\[0\]\.keys: a rule that allows sign or attest must say with which keys/],
    [changed(/ {4}repositories: .*\n/, ''), /rules\[0\]\.repositories: .* must say for which repositories or subjects/],
    [
      changed(/repositories: .*/, 'repositories: ["ghcr.io/acme/**", " x"]'),
      /repositories\[1\]: the pattern begins or ends with a space/,
    ],
    // A deny rule that can never match would be silent.
    ...(
      [
        ['https://ghcr.io/acme/app', /has a scheme/],
        ['ghcr.io/acme/app:v1', /has a tag or digest/],
        ['ghcr.io/acme/app@sha256:**', /has a tag or digest/],
        ['GHCR.io/acme/app', /has upper-case letters/],
        ['ghcr.io', /has no path, .*; write "ghcr\.io\/\*\*"/],
        ['library/nginx', /has no registry host, .*; write it out, for Docker Hub/],
        ['docker.io/acme/**', /another name than "index\.docker\.io" .*; write "index\.docker\.io\/acme\/\*\*"/],
        ['ghcr.io:443/acme/**', /another name than "ghcr\.io"/],
        ['127.1:5000/**', /another name than "127\.0\.0\.1:5000"/],
        ['ghcr.io:99999/acme/**', /a host that cannot be asked/],
      ] as const
    ).map(([pattern, problem]): [string, RegExp] => [
      changed(/repositories: .*/, `repositories: ["${pattern}"]`),
      problem,
    ]),
    [releaseRule('    blobsByDigest: yes\n'), /rules\[0\]\.blobsByDigest: unknown value "yes"/],
    [
      releaseRule('    predicateTypes: [slsaprovenance1]\n'),
      /predicateTypes: only attest and verify have a predicate type/,
    ],
    [
      changed(/verbs: .*/, 'verbs: [attest]\n    predicateTypes: spdx'),
      /predicateTypes: unknown predicate type "spdx"; .*spdxjson/,
    ],
    // Expressions
    [releaseRule('    when: claims.ref ==\n'), /:11: rules\[0\]\.when: not a CEL expression: at 1:12 found = but/],
    [releaseRule('    when: clams.ref == "x"\n'), /when: unknown name "clams"; did you mean "claims"\?/],
    [releaseRule('    when: claims.ref == "x" || clams.y\n'), /unknown name "clams"/],
    [releaseRule('    when: request.verbs == "sign"\n'), /unknown field "request\.verbs"; did you mean "verb"\?/],
    [releaseRule('    when: request["keys"] == "x"\n'), /unknown field "request\.keys"/],
    [releaseRule('    when: claims.ref.startWith("x")\n'), /unknown function "startWith"; did you mean "startsWith"\?/],
    [releaseRule('    when: claims.ref\n'), /never true or false: its value is not true or false but string/],
    [releaseRule('    when: claims.run_number > 3\n'), /never true or false: .*overload/],
    [releaseRule('    when: "1 + 1"\n'), /never true or false/],
    [releaseRule('    when: claims.ref.matches("^(a+)+$")\n'), /regular expressions are not anchored/],
    [
      releaseRule('    when: claims.groups.exists(g, g == "x")\n'),
      /all, exists, exists_one, map and filter are not allowed; |are not allowed: they have no bound/,
    ],
    [releaseRule('    when: claims.g.all(a, claims.g.all(b, a != b))\n'), /no bound on their time/],
    [releaseRule('    when: "{1: 2}[1] == 2"\n'), /messages and maps are not allowed/],
    [releaseRule(`    when: "${'('.repeat(900)}true${')'.repeat(900)}"\n`), /nested too deeply/],
    [releaseRule(`    when: "${'true && '.repeat(300)}true"\n`), /longer than 2048 characters/],
    [releaseRule('    when: ""\n'), /rules\[0\]\.when/],
    // YAML
    [releaseRule('    keys: [staging]\n'), /^policy\.yaml:11: the key keys is here twice/],
    [changed(/keys: .*/, 'keys: &k [release]'), /:9: an anchor \(&name\) is not allowed/],
    [changed(/keys: .*/, 'keys: *k'), /:9: an alias \(\*name\) is not allowed/],
    [changed(/keys: .*/, 'keys: !!set {release}'), /:9: a tag \(!name\) is not allowed/],
    [changed(/keys: .*/, '<<: {keys: [release]}'), /:9: a merge key \(<<\) is not allowed/],
    [changed(/ref: .*/, '__proto__: x'), /:7: the key "__proto__" is not allowed/],
    [changed(/ref: .*/, '? [ref]\n        : x'), /a key that is not a plain text is not allowed/],
    [changed(/keys: .*/, 'keys: [release'), /not valid YAML/],
    [`${releaseRule()}---\nrules: []\n`, /there is a second document/],
    ['\trules: []', /not valid YAML/],
  ];
  for (const [text, expected] of cases) {
    const found = mistakes(text);
    assert.ok(
      found.some((line) => expected.test(line)),
      `${expected}\nnot in\n${found.join('\n')}`,
    );
    // A missing field may be missed in two ways; nothing else makes a second mistake out of one.
    const more = found.filter((line) => !expected.test(line));
    assert.ok(
      more.every((line) => /is missing|binds no claim|has no|must say/.test(line)),
      more.join('\n'),
    );
    for (const line of found) assert.match(line, /^policy\.yaml:\d+: .+; .+$/, 'file, line, problem and fix');
  }
});

test('all mistakes of all files come at once, with the fields to program against', () => {
  const first = releaseRule('    efect: deny\n    when: clams.x\n')
    .replace('[release]', '[relaese]')
    .replace('"456789"', '"*"');
  const second = releaseRule().replace(github, 'https://other.example');
  const error = refusal(() =>
    loadPolicy(
      [
        { path: 'a.yaml', text: first },
        { path: 'b.yaml', text: second },
      ],
      known,
    ),
  );
  assert.match(error.message, /^The policy has 6 mistakes:\n/);
  assert.deepEqual(error.violations.map(({ field }) => field).sort(), [
    'a.yaml:11: rules[0].efect',
    'a.yaml:12: rules[0].when',
    'a.yaml:6: rules[0].caller.claims.repository_id',
    'a.yaml:9: rules[0].keys',
    'b.yaml:2: rules[0].name',
    'b.yaml:4: rules[0].caller.issuer',
  ]);
  for (const { description } of error.violations) assert.match(description, /.+; .+/);
});

test('what may be said: nested claims, lists, an issuer with its own stable claims, broad deny rules', () => {
  const rule = (lines: string) => `rules:\n  - name: x\n${lines.replace(/^/gm, '    ')}`;
  const accepted = [
    `caller: {issuer: ${gitlabIssuer}, claims: {project_id: 20, ref_protected: true}}\nverbs: [sign, attest]\nkeys: blobs\nsubjects: ["dist/**"]`,
    `caller:\n  issuer: ${gitlabIssuer}\n  claims:\n    kubernetes.io: {serviceaccount: {uid: f5720c1d}}\nverbs: verify`,
    `caller: {issuer: ${github}, claims: {sub: ["repo:acme/app:**", "repo:acme@1/app@2:**"]}}\nverbs: [read-key]`,
    `caller: {issuer: https://corp.example, claims: {employee: "7"}}\nverbs: verify`,
    `effect: deny\ncaller: {issuer: ${github}}\nverbs: [sign, attest, verify, read-key]`,
    `effect: deny\ncaller: {issuer: ${github}, claims: {event_name: "pull_request*"}}\nverbs: sign`,
    `caller: {issuer: ${github}, claims: {sub: "repo:acme/**"}}\nverbs: verify\nwhen: has(claims.environment) && claims.environment == "prod"`,
    `caller: {issuer: ${github}, claims: {sub: "repo:acme/**"}}\nverbs: verify\nwhen: '"x" in claims.custom_list && claims["a/b"].c == 1 && request.annotations.env == "prod"'`,
    `caller: {issuer: ${github}, claims: {sub: "repo:acme/**"}}\nverbs: attest\nkeys: release\nrepositories: "**"\npredicateTypes: [spdxjson, "https://acme.example/scan/v1"]`,
  ];
  for (const lines of accepted) assert.equal(load(rule(lines)).rules.length, 1, lines);
  const weak = `caller: {issuer: https://corp.example, claims: {sub: someone}}\nverbs: verify`;
  assert.match(mistakes(rule(weak))[0] ?? '', /bind one of: employee/);
});
const gitlabIssuer = 'https://gitlab.example';

test('hostile YAML is refused quickly', () => {
  const levels = Array.from(
    { length: 20 },
    (_, level) => `l${level}: &l${level} [${`*l${level - 1}, `.repeat(9)}]`,
  ).join('\n');
  const bombs = [
    levels,
    '['.repeat(60_000),
    '{a: '.repeat(20_000),
    '- '.repeat(40_000),
    '? '.repeat(40_000),
    '"'.repeat(100_000),
    '}'.repeat(50_000),
    'a:\n'.repeat(20_000),
    `rules:\n${'  - name: x\n'.repeat(5_000)}`,
    'x'.repeat(300_000),
    '&a '.repeat(30_000),
  ];
  for (const bomb of bombs) {
    const started = performance.now();
    const error = refusal(() => load(bomb));
    assert.ok(performance.now() - started < 5000, bomb.slice(0, 10));
    assert.ok(error.violations.length <= 100 && error.message.length < 100_000, bomb.slice(0, 10));
  }
});

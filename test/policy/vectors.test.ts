import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { decide } from '../../src/policy/decide.ts';
import { loadPolicy } from '../../src/policy/load.ts';
import { skipWithoutVectors, vectorsPath } from '../vectors.ts';
import { question } from './world.ts';

/** Without the vectors these tests say so and check nothing; in CI that fails. */
const read = (name: string) => JSON.parse(readFileSync(vectorsPath('06-jwt-oidc', name), 'utf8'));

type Claims = Readonly<Record<string, unknown>>;
const asks = (claims: Claims) => question({ issuer: String(claims.iss), claims });

// As one should write it: numeric ids, event, runner and workflow bound besides the subject, values never split.
const careful = `rules:
  - name: branch-or-tag
    caller:
      issuer: https://token.actions.githubusercontent.com
      claims:
        sub: ["repo:octo-org/octo-repo:ref:**", "repo:octo-org@65/octo-repo@74:ref:**"]
        repository_id: "74"
        repository_owner_id: "65"
        event_name: push
        ref: [refs/heads/main, refs/tags/*]
        job_workflow_ref: octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main
    verbs: [sign]
    keys: [release]
    repositories: [ghcr.io/acme/**]
  - name: environment
    caller:
      issuer: https://token.actions.githubusercontent.com
      claims:
        sub: repo:octo-org/octo-repo:environment:prod
        repository_id: "74"
        event_name: workflow_dispatch
        environment: prod
        runner_environment: github-hosted
    verbs: [sign]
    keys: [release]
    repositories: [ghcr.io/acme/**]
`;

test('GitHub token shapes: a careful policy allows the honest ones and none of the traps', {
  skip: skipWithoutVectors,
}, () => {
  const policy = loadPolicy([{ path: 'careful.yaml', text: careful }], { keys: 'any', issuers: 'any' });
  const tokens: { name: string; claims: Claims }[] = read('github-claims-samples.json').tokens;
  assert.ok(tokens.length >= 18);
  const allowed = tokens
    .map(({ name, claims }) => [name, decide(policy, asks(claims)).rule])
    .filter(([, rule]) => rule !== undefined);
  assert.deepEqual(allowed, [
    ['documented sample', 'environment'],
    ['branch push', 'branch-or-tag'],
    ['tag push', 'branch-or-tag'],
  ]);
  return undefined;
});

test("Fulcio's cases: a rule that names the claims which Fulcio demands accepts and refuses the same tokens", {
  skip: skipWithoutVectors,
}, () => {
  type Case = {
    provider: string;
    name: string;
    claims: Claims;
    expect: 'accept' | 'reject';
    errContains: string | null;
  };
  const cases: Case[] = read('fulcio-claims-cases.json').cases;
  let checked = 0;
  for (const provider of ['github', 'gitlabcom', 'buildkite', 'codefresh']) {
    const own = cases.filter((one) => one.provider === provider);
    const demanded = own.flatMap(({ errContains }) => (errContains === null ? [] : [errContains]));
    const sub = own[0]?.claims.sub;
    const rule = {
      name: provider,
      caller: {
        issuer: own[0]?.claims.iss,
        claims: { sub: `${String(sub).slice(0, 30)}**`, ...Object.fromEntries(demanded.map((claim) => [claim, '**'])) },
      },
      verbs: ['sign'],
      keys: ['release'],
      repositories: ['**'],
    };
    // JSON is YAML.
    const policy = loadPolicy([{ path: `${provider}.yaml`, text: JSON.stringify({ rules: [rule] }) }], {
      keys: 'any',
      issuers: 'any',
    });
    for (const { name, claims, expect, errContains } of own) {
      const decision = decide(policy, question({ issuer: String(claims.iss), claims: { ...blank, ...claims } }));
      assert.equal(decision.allowed ? 'accept' : 'reject', expect, `${provider}: ${name}`);
      if (errContains !== null) {
        const missed = decision.nearest?.misses.map(({ condition }) => condition) ?? [];
        assert.ok(missed.includes(`claims.${errContains}`), `${provider}: ${name}: ${missed}`);
      }
      checked += 1;
    }
  }
  assert.ok(checked >= 30, `${checked} cases`);
  return undefined;
});

/** Takes away what the test world would fill in. */
const blank = {
  sub: undefined,
  repository: undefined,
  repository_id: undefined,
  ref: undefined,
  ref_type: undefined,
  event_name: undefined,
  runner_environment: undefined,
};

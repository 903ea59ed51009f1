import type { Question } from '../../src/model/decision.ts';
import type { Known } from '../../src/policy/known.ts';
import { loadPolicy, type Policy } from '../../src/policy/load.ts';

export const github = 'https://token.actions.githubusercontent.com';
export const gitlab = 'https://gitlab.example';

export const known: Known = {
  keys: ['release', 'staging', 'blobs'],
  issuers: [{ issuer: github }, { issuer: gitlab }, { issuer: 'https://corp.example', stableClaims: ['employee'] }],
  predicateTypes: [
    { uri: 'https://slsa.dev/provenance/v1', aliases: ['slsaprovenance1'] },
    { uri: 'https://spdx.dev/Document', aliases: ['spdxjson'] },
  ],
};

export const load = (text: string, path = 'policy.yaml'): Policy => loadPolicy([{ path, text }], known);

/** Claims as the callers room hands them over: without a prototype. */
export const claims = (more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> =>
  Object.assign(
    Object.create(null),
    {
      iss: github,
      sub: 'repo:acme/app:ref:refs/tags/v1.2.3',
      repository: 'acme/app',
      repository_id: '456789',
      ref: 'refs/tags/v1.2.3',
      ref_type: 'tag',
      event_name: 'push',
      runner_environment: 'github-hosted',
    },
    more,
  );

type QuestionParts = Partial<Omit<Question, 'caller'>> & {
  readonly issuer?: string;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly repository?: string;
  readonly blob?: string;
};

/** A question about signing ghcr.io/acme/app with `release`, changed as asked. */
export const question = ({
  issuer = github,
  claims: given = {},
  repository,
  blob,
  ...parts
}: QuestionParts = {}): Question => ({
  caller: { kind: 'oidc', issuer, subject: 'x', claims: claims(given), expiresAt: 2e9 },
  verb: 'sign',
  key: 'release',
  subject:
    blob === undefined ? { kind: 'repository', name: repository ?? 'ghcr.io/acme/app' } : { kind: 'blob', name: blob },
  storageRepository: undefined,
  predicateType: undefined,
  formats: ['bundle'],
  annotations: {},
  ...parts,
});

/** A rule that allows signing tags, as YAML, with lines added at its end. */
export const releaseRule = (more = ''): string => `rules:
  - name: release
    caller:
      issuer: ${github}
      claims:
        repository_id: "456789"
        ref: refs/tags/*
    verbs: [sign]
    keys: [release]
    repositories: [ghcr.io/acme/**]
${more}`;

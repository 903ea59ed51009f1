/** Claims of CI-shaped tokens, without the times and the audience that `mint` adds. */
export type Claims = Readonly<Record<string, unknown>>;

const commit = '714a629c0b401fdce83e847fc9589983fc6f46bc';

/**
 * The claims of a GitHub Actions job (docs.github.com, "OpenID Connect reference"): a push to `ref` of `repository`
 * (`owner/name`). Whatever `overrides` holds replaces or adds to them.
 */
export const githubClaims = (overrides: Claims = {}): Claims => {
  const { repository = 'acme/app', ref = 'refs/heads/main' } = overrides;
  const [owner = ''] = String(repository).split('/');
  const workflow = `${repository}/.github/workflows/release.yml@${ref}`;
  return {
    sub: `repo:${repository}:ref:${ref}`,
    repository,
    repository_id: '456789',
    repository_owner: owner,
    repository_owner_id: '123456',
    repository_visibility: 'private',
    ref,
    ref_type: String(ref).startsWith('refs/tags/') ? 'tag' : 'branch',
    ref_protected: 'true',
    sha: commit,
    workflow: 'release',
    workflow_ref: workflow,
    workflow_sha: commit,
    job_workflow_ref: workflow,
    job_workflow_sha: commit,
    event_name: 'push',
    base_ref: '',
    head_ref: '',
    actor: 'mona',
    actor_id: '12',
    run_id: '1001',
    run_number: '10',
    run_attempt: '1',
    runner_environment: 'github-hosted',
    ...overrides,
  };
};

/** The claims of a GitLab CI job (docs.gitlab.com, "ID tokens"): `ref` has no `refs/heads/`, `runner_id` is a number. */
export const gitlabClaims = (overrides: Claims = {}): Claims => {
  const { project_path: project = 'acme/app', ref = 'main', ref_type: refType = 'branch' } = overrides;
  const [namespace = ''] = String(project).split('/');
  return {
    sub: `project_path:${project}:ref_type:${refType}:ref:${ref}`,
    namespace_id: '72',
    namespace_path: namespace,
    project_id: '20',
    project_path: project,
    project_visibility: 'private',
    user_id: '1',
    user_login: 'mona',
    user_email: 'mona@acme.example',
    user_access_level: 'developer',
    pipeline_id: '574',
    pipeline_source: 'push',
    job_id: '302',
    ref,
    ref_type: refType,
    ref_path: refType === 'tag' ? `refs/tags/${ref}` : `refs/heads/${ref}`,
    ref_protected: 'true',
    runner_id: 1,
    runner_environment: 'gitlab-hosted',
    sha: commit,
    ci_config_ref_uri: `gitlab.example/${project}//.gitlab-ci.yml@refs/heads/${ref}`,
    ci_config_sha: commit,
    ...overrides,
  };
};

/** The claims of a projected Kubernetes service account token (kubernetes.io, "ServiceAccount token volume projection"). */
export const kubernetesClaims = (
  { namespace = 'build', serviceAccount = 'signer', uid = 'f5720c1d-5c2f-4d5c-9d0f-3e5a1c7b9d11' } = {},
  overrides: Claims = {},
): Claims => ({
  sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
  'kubernetes.io': {
    namespace,
    node: { name: 'node-1', uid: '646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1' },
    pod: { name: `${serviceAccount}-7d4f`, uid: '49ad3572-b3dd-4d42-9c33-6b7c7d1a5e90' },
    serviceaccount: { name: serviceAccount, uid },
  },
  ...overrides,
});

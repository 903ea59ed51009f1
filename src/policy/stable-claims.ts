import type { Pattern } from './pattern.ts';

/**
 * Claims that say who the caller is and that no one else can come to hold: names of nested claims are joined by `/`. The
 * configuration may list others for an issuer.
 */
export const wellKnownStableClaims: readonly string[] = [
  'sub',
  'repository_id',
  'repository_owner_id',
  'project_id',
  'namespace_id',
  'organization_id',
  'pipeline_id',
  'oidc.circleci.com/project-id',
  'kubernetes.io/serviceaccount/uid',
];

/** How well-known subjects begin, and how much of one must be fixed before it belongs to a single owner. */
const subjectShapes: readonly { readonly head: string; readonly owned: RegExp }[] = [
  { head: 'repo:', owned: /^repo:[^/@]+[/@]/ },
  { head: 'project_path:', owned: /^project_path:[^/:]+\// },
  { head: 'organization:', owned: /^organization:[^:]+:/ },
  { head: 'org/', owned: /^org\/[^/]+\// },
  { head: 'system:serviceaccount:', owned: /^system:serviceaccount:[^:]+:/ },
  { head: 'spiffe://', owned: /^spiffe:\/\/[^/]+\// },
];

const isId = (claim: string): boolean => /(?:^|[/_-])u?id$/.test(claim);

/** Why this pattern does not bind a stable claim to one owner; undefined when it does. */
export const bindingProblem = (claim: string, pattern: Pattern): string | undefined => {
  if (pattern.kind === 'literal') return undefined;
  if (isId(claim)) return 'a glob over an id also matches the ids of strangers; write the id out';
  const prefix = pattern.literalPrefix;
  if (prefix === '') return 'a glob that begins with a star matches everybody; write out how the value begins';
  for (const { head, owned } of subjectShapes) {
    if (head.startsWith(prefix) || (prefix.startsWith(head) && !owned.test(prefix))) {
      return `the fixed part "${prefix}" does not name one owner; write the owner out, with the separator after it`;
    }
  }
  return undefined;
};

import type { Pattern } from './pattern.ts';
import type { ClaimPatterns } from './schema.ts';

type Claims = Readonly<Record<string, unknown>>;

/** One claim, by its path through nested objects, and the patterns of which any must match. */
export type ClaimCondition<P> = { readonly path: readonly string[]; readonly patterns: readonly P[] };

/** The conditions that a rule's `claims` state, nested ones by their path. */
export const claimConditions = (
  claims: Readonly<Record<string, ClaimPatterns>>,
  above: readonly string[] = [],
): readonly ClaimCondition<string>[] =>
  Object.entries(claims).flatMap(([name, value]) => {
    const path = [...above, name];
    if (typeof value === 'string') return [{ path, patterns: [value] }];
    if (Array.isArray(value)) return [{ path, patterns: value as readonly string[] }];
    return claimConditions(value as Readonly<Record<string, ClaimPatterns>>, path);
  });

/** The value at a path; undefined when there is none. Own members only. */
export const claimAt = (claims: Claims, path: readonly string[]): unknown => {
  let value: unknown = claims;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
};

/** Texts compare as they are, numbers and booleans by their JSON text, lists by any element; nothing else ever matches. */
export const claimMatches = (value: unknown, patterns: readonly Pattern[]): boolean => {
  if (typeof value === 'string') return patterns.some((pattern) => pattern.test(value));
  if (typeof value === 'number' || typeof value === 'boolean')
    return patterns.some((pattern) => pattern.test(String(value)));
  if (Array.isArray(value)) return value.some((item) => !Array.isArray(item) && claimMatches(item, patterns));
  return false;
};

/** A value of the caller's for messages and the audit log: at most 256 characters, no control characters. */
export const shownValue = (value: unknown): string => {
  if (value === undefined) return '(absent)';
  const text = (typeof value === 'string' ? value : (JSON.stringify(value) ?? '')).replace(/\p{Cc}/gu, '\ufffd');
  return text.length > 256 ? `${text.slice(0, 256).toWellFormed()}…` : text;
};

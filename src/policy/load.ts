import { canonicalJson } from '../codec/canonical-json.ts';
import { sha256 } from '../model/digest.ts';
import { checkRule, isWholeRule } from './check-rule.ts';
import { type CompiledRule, compileRule } from './compile.ts';
import type { Known } from './known.ts';
import { type Mistake, policyInvalid } from './mistake.ts';
import { readRules } from './read-rules.ts';
import type { Rule } from './schema.ts';
import type { SourceFile } from './yaml.ts';

/** A policy in force: rules in file order, ready to decide. */
export type Policy = {
  /** `sha256:<hex>` over what the rules say; comments, layout and file names do not count. */
  readonly hash: string;
  readonly rules: readonly CompiledRule[];
  /** The patterns of repositories in all rules that allow. */
  readonly repositories: readonly string[];
  /** A predicate type or its short name -> URI. */
  readonly resolvePredicateType: (type: string) => string;
};

const typeResolver = (types: Known['predicateTypes'] = []): ((type: string) => string) => {
  const uris = new Map(types.flatMap(({ uri, aliases }) => aliases.map((alias) => [alias, uri] as const)));
  return (type) => uris.get(type) ?? type;
};

/**
 * Loads a policy from YAML files (their texts, and the names that messages use). Nothing is fetched and nothing is guessed:
 * whatever is not understood is refused. Throws `invalid_argument`, reason `POLICY_INVALID`, with every mistake of every file:
 * file, line, path, problem and fix.
 */
export const loadPolicy = (files: readonly SourceFile[], known: Known): Policy => {
  const mistakes: Mistake[] = [];
  const rules: Rule[] = [];
  const names = new Set<string>();
  for (const file of files) {
    for (const draft of readRules(file, mistakes)) {
      checkRule(draft, known);
      const { name } = draft.fields;
      if (name !== undefined && names.has(name)) {
        draft.report(['name'], `another rule is already called "${name}"`, 'give each rule a name of its own');
      }
      if (name !== undefined) names.add(name);
      if (isWholeRule(draft.fields)) rules.push(draft.fields);
    }
  }
  if (mistakes.length > 0) throw policyInvalid(mistakes);
  const resolvePredicateType = typeResolver(known.predicateTypes);
  return {
    hash: sha256(Buffer.from(canonicalJson(rules))),
    rules: rules.map((rule) => compileRule(rule, resolvePredicateType)),
    repositories: rules.flatMap(({ effect, repositories = [] }) => (effect === 'allow' ? repositories : [])),
    resolvePredicateType,
  };
};

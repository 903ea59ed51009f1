import type { Decision, Miss, Question, RuleReason } from '../model/decision.ts';
import { claimAt, shownValue } from './claim.ts';
import type { CompiledRule } from './compile.ts';
import { type Bindings, bindingsOf } from './expression.ts';
import type { Policy } from './load.ts';

type Outcome = { readonly rule: CompiledRule; readonly misses: readonly Miss[]; readonly distance: number };

const weigh = (rule: CompiledRule, question: Question, bindings: () => Bindings): Outcome => {
  const misses: Miss[] = [];
  let distance = 0;
  for (const condition of rule.conditions) {
    if (condition.holds(question)) continue;
    misses.push({ condition: condition.label, wanted: condition.wanted, had: condition.had(question) });
    distance += condition.weight;
    if (condition.label === 'issuer') break;
  }
  if (rule.when !== undefined && misses.length === 0) {
    const result = rule.when.evaluate(bindings());
    // An expression that fails must never open a door: an allow rule does not match then, a deny rule does.
    const deniesByError = rule.effect === 'deny' && typeof result !== 'boolean';
    if (result !== true && !deniesByError) {
      misses.push({
        condition: 'when',
        wanted: rule.when.source,
        had: result === false ? 'false' : `an error: ${result.problem}`,
      });
      distance += 1;
    }
  }
  return { rule, misses, distance };
};

const claimsOf = (rule: CompiledRule | undefined, question: Question): Record<string, string> =>
  Object.fromEntries(
    (rule?.claims ?? []).map((path) => [path.join('.'), shownValue(claimAt(question.caller.claims, path))]),
  );

/** The allow rule that came nearest: fewest misses, a wrong verb counting ten times and a wrong issuer a hundred times. */
const nearestOf = (outcomes: readonly Outcome[]): Outcome | undefined =>
  outcomes
    .filter(({ rule }) => rule.effect === 'allow')
    .reduce<Outcome | undefined>(
      (best, next) => (best === undefined || next.distance < best.distance ? next : best),
      undefined,
    );

const reasonOf = ({ rule, misses }: Outcome): RuleReason => ({ rule: rule.name, effect: rule.effect, misses });

/**
 * Decides a question: the first deny rule that matches wins; otherwise the first allow rule that matches allows; otherwise
 * no. Pure: the same policy and question give the same answer. Never throws.
 */
export const decide = (policy: Policy, asked: Question): Decision => {
  const question =
    asked.predicateType === undefined
      ? asked
      : { ...asked, predicateType: policy.resolvePredicateType(asked.predicateType) };
  let prepared: Bindings | undefined;
  const bindings = (): Bindings => {
    prepared ??= bindingsOf(question);
    return prepared;
  };
  const outcomes = policy.rules.map((rule) => weigh(rule, question, bindings));
  const matching = (effect: 'allow' | 'deny') =>
    outcomes.find(({ rule, misses }) => rule.effect === effect && misses.length === 0);
  const deciding = matching('deny') ?? matching('allow');
  const nearest = deciding === undefined ? nearestOf(outcomes) : undefined;
  return {
    allowed: deciding?.rule.effect === 'allow',
    rule: deciding?.rule.name,
    policyHash: policy.hash,
    claims: claimsOf((deciding ?? nearest)?.rule, question),
    nearest: nearest === undefined ? undefined : reasonOf(nearest),
    reasons: outcomes.map(reasonOf),
  };
};

import type { Decision, Question } from '../model/decision.ts';
import { CountersignError } from '../model/error.ts';
import { decide } from './decide.ts';
import type { Policy } from './load.ts';

/** Why a decision was no, in a sentence or two for the caller: its own claims and the names of rules, nothing else. */
export const denialText = (decision: Decision, question: Pick<Question, 'verb' | 'caller'>): string => {
  if (decision.rule !== undefined) return `Policy rule "${decision.rule}" denies this ${question.verb}.`;
  const { nearest } = decision;
  if (nearest === undefined)
    return `No policy rule allows this ${question.verb}: there are no rules that allow anything.`;
  const misses = nearest.misses
    .map(({ condition, wanted, had }) => `${condition}: wanted ${wanted}, had ${had}`)
    .join('; ');
  return `No policy rule allows this ${question.verb}; the nearest is "${nearest.rule}", which misses ${misses}.`;
};

/**
 * Decides, and answers the decision when it is yes. Otherwise throws `permission_denied`, reason `POLICY_DENIED`; `metadata`
 * holds `policyHash` and `rule`, the rule that denied or came nearest. `cause` is the Decision.
 */
export const authorize = (policy: Policy, question: Question): Decision => {
  const decision = decide(policy, question);
  if (decision.allowed) return decision;
  const rule = decision.rule ?? decision.nearest?.rule;
  throw new CountersignError('permission_denied', 'POLICY_DENIED', denialText(decision, question), {
    metadata: { policyHash: decision.policyHash, ...(rule === undefined ? {} : { rule }) },
    cause: decision,
  });
};

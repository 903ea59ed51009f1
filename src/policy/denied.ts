import type { Decision, Question } from '../model/decision.ts';
import { CountersignError } from '../model/error.ts';

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
 * A decision that was no, as an error: `permission_denied`, reason `POLICY_DENIED`. The message names the nearest rule and what
 * it missed; `metadata` holds `policyHash` and `rule`, the rule that denied or came nearest.
 */
export const policyDenied = (question: Question, decision: Decision): CountersignError => {
  const rule = decision.rule ?? decision.nearest?.rule;
  return new CountersignError('permission_denied', 'POLICY_DENIED', denialText(decision, question), {
    metadata: { policyHash: decision.policyHash, ...(rule === undefined ? {} : { rule }) },
  });
};

import type { Decision, Question } from '../model/decision.ts';
import { CountersignError } from '../model/error.ts';
import { denialText } from './authorize.ts';

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

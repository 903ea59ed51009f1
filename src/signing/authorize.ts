import type { Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import { policyDenied } from '../policy/denied.ts';
import { recordDenial } from './audited.ts';
import type { SigningPorts } from './ports.ts';

/** The decision that allows it. Throws `permission_denied`, after the denial was recorded. */
export const authorize = async (
  question: Question,
  context: Context,
  ports: Pick<SigningPorts, 'decide' | 'audit'>,
): Promise<Decision> => {
  const decision = ports.decide(question);
  if (decision.allowed) return decision;
  const error = policyDenied(question, decision);
  await recordDenial(ports.audit, question, decision, error, context);
  throw error;
};

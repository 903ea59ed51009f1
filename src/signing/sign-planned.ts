import type { HeldKey } from '../keys/key-source.ts';
import { assertLive, type Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import type { StoredSignature } from '../model/result.ts';
import { marks, type Sealed, signedBy } from '../model/signature.ts';
import type { AuditTrail } from './audited.ts';
import type { Content } from './content.ts';
import type { Plan } from './plan.ts';
import type { SigningPorts } from './ports.ts';
import { sealAll } from './seal.ts';

/** One entry an item of the plan, in its order. */
export type SealedPlan = {
  readonly items: readonly (StoredSignature | { readonly sealed: Sealed })[];
  /** The `intended` record; undefined when nothing was signed. */
  readonly auditId: string | undefined;
};

type How = {
  readonly held: HeldKey;
  readonly digest: Digest;
  readonly content: Content;
  readonly question: Question;
  readonly decision: Decision;
  readonly trail: AuditTrail;
  readonly request: string | undefined;
};

/** Writes down that exactly this key version is about to be used for exactly this digest, then signs what is not there yet. */
export const signPlanned = async (plan: Plan, how: How, ports: SigningPorts, context: Context): Promise<SealedPlan> => {
  const { held, digest, content, question, decision, trail } = how;
  const missing = plan.items.filter(({ existing }) => existing === undefined);
  if (missing.length === 0) return { items: withExisting(plan, []), auditId: undefined };
  const formats = missing.map(({ format }) => format);
  const auditId = await trail.intended(held.description.signing, digest, formats);
  assertLive(context);
  const signable = content.signable(digest, () => recordOf(question, decision, auditId, ports));
  const made = await sealAll(
    signable,
    formats.map((name) => ports.formats[name]),
    held,
    ports.now(),
    context,
  );
  const marked = made.map((sealed, index) => withMarks(sealed, missing[index]?.mark, how.request, ports));
  return { items: withExisting(plan, marked), auditId };
};

const withExisting = (plan: Plan, made: readonly Sealed[]): SealedPlan['items'] => {
  let next = 0;
  return plan.items.map(({ existing }) => {
    if (existing !== undefined) return existing;
    const sealed = made[next++];
    if (sealed === undefined) throw new Error('a signature is missing');
    return { sealed };
  });
};

/** Beside the signature, for whoever looks whether it is there. */
const withMarks = (
  sealed: Sealed,
  content: string | undefined,
  request: string | undefined,
  { record }: SigningPorts,
): Sealed => {
  if (content === undefined || record === 'none') return sealed;
  const annotations = {
    ...sealed.attachment.annotations,
    [marks.content]: content,
    ...(request === undefined ? {} : { [marks.request]: request }),
  };
  return { ...sealed, attachment: { ...sealed.attachment, annotations } };
};

/** What countersign itself puts into what it signs: who asked, by which rule, when, and where that is written down. */
const recordOf = (
  question: Question,
  decision: Decision,
  auditId: string,
  ports: SigningPorts,
): Readonly<Record<string, string>> =>
  ports.record === 'none'
    ? {}
    : {
        [signedBy.issuer]: question.caller.issuer,
        [signedBy.subject]: question.caller.subject,
        [signedBy.rule]: decision.rule ?? '',
        [signedBy.policy]: decision.policyHash,
        [signedBy.time]: ports.now().toISOString(),
        [signedBy.audit]: auditId,
      };

import type { Storage } from '../model/command.ts';
import { assertLive, type Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { HeldKey } from '../keys/key-source.ts';
import { signWith } from '../keys/sign-with.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError, toCountersignError } from '../model/error.ts';
import type { SignResult, StoredSignature } from '../model/result.ts';
import { type Sealed, type Signable, signedBy } from '../model/signature.ts';
import type { ResolvedImage } from '../model/subject.ts';
import { policyDenied } from '../policy/denied.ts';
import { type AuditTrail, openTrail, recordDenial } from './audited.ts';
import type { SigningPorts } from './ports.ts';
import { sealAll } from './seal.ts';
import { type ResolvedTarget, resolveTarget, type Target } from './target.ts';

/** Makes what is to be signed, once the digest is known and the record of who asked is written. */
export type MakeSignable = (digest: Digest, record: () => Readonly<Record<string, string>>) => Signable;

export type SignAndStore = {
  readonly question: Question;
  /** The configured name of the key; the question names it too. */
  readonly key: string;
  readonly target: Target;
  readonly storage: Storage;
  /** Checks the content of the request (after policy allowed it) and answers how to make the Signable. */
  readonly prepare: () => MakeSignable;
  readonly context: Context;
  readonly ports: SigningPorts;
};

/** The steps that Sign and Attest share, in the order of the design: authorize, key, resolve, audit, sign, store, audit. */
export const signAndStore = async (request: SignAndStore): Promise<SignResult> => {
  const { question, target, context, ports } = request;
  const decision = await authorize(question, context, ports);
  const trail = openTrail(ports.audit, question, decision, context);
  const outputs: StoredSignature[] = [];
  try {
    const makeSignable = request.prepare();
    let resolved: ResolvedTarget | undefined;
    const signed = await signWith(
      ports.keys,
      request.key,
      context,
      async (held) => {
        resolved ??= await resolveTarget(target, ports.registry, context);
        return signOnce(held, resolved, makeSignable, decision, trail, request);
      },
      // A member of a group failed: its record is ended before another is used.
      (caught) => trail.failed(toCountersignError(caught), []),
    );
    await storeAll(signed.sealed, signed.image, request, outputs);
    await trail.completed(outputs);
    return {
      digest: signed.digest,
      name: target.name,
      outputs,
      key: signed.key,
      decision,
      auditId: signed.auditId,
      predicateType: question.predicateType,
    };
  } catch (caught) {
    throw await reportFailure(caught, outputs, trail);
  }
};

/** Writes down that exactly this key version is about to be used for exactly this digest, then signs in every format. */
const signOnce = async (
  held: HeldKey,
  { digest, image }: ResolvedTarget,
  makeSignable: MakeSignable,
  decision: Decision,
  trail: AuditTrail,
  { question, ports, context }: SignAndStore,
) => {
  const key = held.description.signing;
  const auditId = await trail.intended(key, digest);
  assertLive(context);
  const signable = makeSignable(digest, () => recordOf(question, decision, auditId, ports));
  const formats = question.formats.map((name) => ports.formats[name]);
  return { digest, image, key, auditId, sealed: await sealAll(signable, formats, held, ports.now(), context) };
};

const authorize = async (question: Question, context: Context, ports: SigningPorts): Promise<Decision> => {
  const decision = ports.decide(question);
  if (decision.allowed) return decision;
  const error = policyDenied(question, decision);
  await recordDenial(ports.audit, question, decision, error, context);
  throw error;
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

/** Stores one after the other, so that a failure leaves a known prefix in `outputs`. */
const storeAll = async (
  sealed: readonly Sealed[],
  image: ResolvedImage | undefined,
  { storage, context, ports }: SignAndStore,
  outputs: StoredSignature[],
): Promise<void> => {
  for (const one of sealed) {
    if (storage.kind === 'return' || image === undefined) {
      outputs.push({ sealed: one, stored: undefined });
      continue;
    }
    outputs.push({ sealed: one, stored: await ports.registry.attach(image, one, storage.repository, context) });
  }
};

/** Writes the `failed` record and names in the error what was already stored: nothing half-made stays unreported. */
const reportFailure = async (
  caught: unknown,
  outputs: readonly StoredSignature[],
  trail: AuditTrail,
): Promise<CountersignError> => {
  const error = toCountersignError(caught);
  await trail.failed(error, outputs);
  const stored = outputs.flatMap((output) =>
    output.stored === undefined ? [] : [`${output.stored.repository}@${output.stored.digest}`],
  );
  if (stored.length === 0) return error;
  // The registry may have told of one more: stored, but not listed.
  const unlisted = error.metadata.stored === undefined ? [] : [error.metadata.stored];
  return new CountersignError(error.code, error.reason, `${error.message} Already stored: ${stored.join(', ')}.`, {
    violations: error.violations,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
    metadata: { ...error.metadata, stored: [...stored, ...unlisted].join(',') },
    cause: error.cause ?? error,
  });
};

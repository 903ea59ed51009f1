import { hash } from 'node:crypto';
import { canonicalJson } from '../codec/canonical-json.ts';
import type { HeldKey } from '../keys/key-source.ts';
import { signWith } from '../keys/sign-with.ts';
import type { Storage } from '../model/command.ts';
import type { Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import { toCountersignError } from '../model/error.ts';
import type { SignResult, StoredSignature } from '../model/result.ts';
import type { KeyVersion } from '../model/signature.ts';
import type { ResolvedImage } from '../model/subject.ts';
import { formatReference } from '../registry/reference.ts';
import { type AuditTrail, openTrail } from './audited.ts';
import { authorize } from './authorize.ts';
import type { Content } from './content.ts';
import { requestMark } from './identity.ts';
import { planFormats } from './plan.ts';
import type { SigningPorts } from './ports.ts';
import { reportFailure } from './report-failure.ts';
import { type SealedPlan, signPlanned } from './sign-planned.ts';
import { type ResolvedTarget, resolveTarget, type Target } from './target.ts';

export type SignAndStore = {
  readonly question: Question;
  /** The configured name of the key; the question names it too. */
  readonly key: string;
  readonly target: Target;
  readonly storage: Storage;
  readonly ifAbsent: boolean;
  /** What the request says besides: the SHA-256 of a predicate, for example. */
  readonly body: string;
  /** Checks the content of the request (after policy allowed it). */
  readonly prepare: () => Content;
  readonly context: Context;
  readonly ports: SigningPorts;
};

/**
 * The steps that Sign and Attest share, in the order of the design: authorize, key, resolve, look for an equal signature, audit,
 * sign, store, audit. Equal requests take turns; one that was answered before gets the same answer again.
 */
export const signAndStore = async (request: SignAndStore): Promise<SignResult> => {
  const { question, context, ports } = request;
  const decision = await authorize(question, context, ports);
  const work = () => signAllowed(request, decision);
  const stores = request.storage.kind === 'attach' && request.target.kind === 'image';
  if (context.idChosen !== true && !(request.ifAbsent && stores)) return work();
  let waits = true;
  try {
    return await ports.repeats.run(
      repeatOf(request),
      context,
      () => {
        waits = false;
        return work();
      },
      async (before) => {
        await openTrail(ports.audit, question, decision, context).existing(before.key, before.digest, before);
        return before;
      },
    );
  } catch (caught) {
    // It ended while an equal request was at work.
    if (waits) await openTrail(ports.audit, question, decision, context).failed(toCountersignError(caught), []);
    throw caught;
  }
};

const repeatOf = ({ question, target, storage, ifAbsent, body, context }: SignAndStore) => {
  const { caller, subject, ...asked } = question;
  const what = target.kind === 'image' ? formatReference(target.reference) : `${target.name} ${target.digest}`;
  const stored = storage.kind === 'attach' ? (storage.repository ?? '') : null;
  const work = digestOf({
    what,
    stored,
    ifAbsent,
    body,
    ...asked,
    key: asked.key ?? null,
    predicateType: asked.predicateType ?? null,
    storageRepository: asked.storageRepository ?? null,
  });
  const by = [caller.issuer, caller.subject, context.requestId, work];
  return { work, request: context.idChosen === true ? digestOf(by) : undefined };
};

const digestOf = (value: unknown): string => hash('sha256', canonicalJson(value));

const signAllowed = async (request: SignAndStore, decision: Decision): Promise<SignResult> => {
  const { question, target, context, ports } = request;
  const trail = openTrail(ports.audit, question, decision, context);
  const outputs: StoredSignature[] = [];
  try {
    const content = request.prepare();
    let resolved: ResolvedTarget | undefined;
    const work = async (held: HeldKey): Promise<Signed> => {
      resolved ??= await resolveTarget(target, ports.registry, context);
      return signHeld(held, resolved, content, decision, trail, request);
    };
    // A member of a group failed: its record is ended before another is used.
    const signed = await signWith(ports.keys, request.key, context, work, (caught) =>
      trail.failed(toCountersignError(caught), []),
    );
    await storeAll(signed, request, outputs);
    const auditId = signed.auditId ?? (await trail.existing(signed.key, signed.digest, { outputs }));
    if (signed.auditId !== undefined) await trail.completed(outputs);
    return {
      digest: signed.digest,
      name: target.name,
      outputs,
      key: signed.key,
      decision,
      auditId,
      predicateType: question.predicateType,
      notices: signed.notices,
      nested: [],
    };
  } catch (caught) {
    throw await reportFailure(caught, outputs, trail);
  }
};

type Signed = SealedPlan & {
  readonly digest: Digest;
  readonly image: ResolvedImage | undefined;
  readonly key: KeyVersion;
  readonly notices: readonly string[];
};

const signHeld = async (
  held: HeldKey,
  { digest, image }: ResolvedTarget,
  content: Content,
  decision: Decision,
  trail: AuditTrail,
  { question, storage, ifAbsent, ports, context }: SignAndStore,
): Promise<Signed> => {
  const key = held.description.signing;
  const request = context.idChosen === true ? requestMark(question.caller, context.requestId) : undefined;
  const plan = await planFormats(
    {
      question,
      key,
      image: storage.kind === 'attach' ? image : undefined,
      plain: () => content.plain(digest),
      ifAbsent,
      request,
      storage,
    },
    ports,
    context,
  );
  const sealed = await signPlanned(plan, { held, digest, content, question, decision, trail, request }, ports, context);
  return { ...sealed, digest, image, key, notices: plan.notices };
};

/** Stores one after the other, so that a failure leaves a known prefix in `outputs`. */
const storeAll = async (
  { items, image }: Signed,
  { storage, context, ports }: SignAndStore,
  outputs: StoredSignature[],
): Promise<void> => {
  for (const item of items) {
    if ('existing' in item) outputs.push(item);
    else if (storage.kind === 'return' || image === undefined) {
      outputs.push({ sealed: item.sealed, stored: undefined, existing: false });
    } else {
      const stored = await ports.registry.attach(image, item.sealed, storage.repository, context);
      outputs.push({ sealed: item.sealed, stored, existing: false });
    }
  }
};

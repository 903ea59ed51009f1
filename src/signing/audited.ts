import { auditRecord } from '../audit/record.ts';
import type { AuditRecord, AuditSink, Until } from '../audit/port.ts';
import type { Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import type { CountersignError } from '../model/error.ts';
import type { StoredSignature } from '../model/result.ts';
import { sha256 } from '../model/digest.ts';
import type { FormatName, KeyVersion, StoredAt } from '../model/signature.ts';

/**
 * The audit records of one request. The intent must survive a power failure, since it tells that a key may have been used;
 * how it ended is written before the answer, and would be missing, not wrong, after one.
 */
export type AuditTrail = {
  /** The key may be used only after this has resolved with the record's id. Rejects `unavailable`: sign nothing then. */
  intended(key: KeyVersion, digest: Digest, formats: readonly FormatName[]): Promise<string>;
  /** Nothing was signed: this was there, or was answered before (`auditId`: by that record). Answers the record's id. */
  existing(
    key: KeyVersion,
    digest: Digest,
    answer: { readonly outputs: readonly StoredSignature[]; readonly auditId?: string },
  ): Promise<string>;
  completed(outputs: readonly StoredSignature[]): Promise<void>;
  /** Never rejects: the error that is being reported matters more. */
  failed(error: CountersignError, outputs: readonly StoredSignature[]): Promise<void>;
};

/** What one record says besides what the request itself tells. */
type Outcome = Pick<AuditRecord, 'intent' | 'keyVersion' | 'member' | 'digest' | 'formats' | 'results' | 'error'>;

/** Members are named one by one: two records a request, and spreading them costs more than writing them. */
const recordOf = (
  event: AuditRecord['event'],
  question: Question,
  decision: Decision,
  { requestId }: Context,
  { intent, keyVersion, member, digest, formats, results, error }: Outcome,
): AuditRecord =>
  auditRecord(event, {
    requestId,
    intent,
    verb: question.verb,
    caller: { issuer: question.caller.issuer, subject: question.caller.subject },
    claims: decision.claims,
    rule: decision.rule,
    policyHash: decision.policyHash,
    key: question.key,
    keyVersion,
    member,
    subject: question.subject?.name,
    digest,
    formats,
    predicateType: question.predicateType,
    results,
    error,
  });

const describeError = (error: CountersignError): AuditRecord['error'] => ({
  code: error.code,
  reason: error.reason,
  message: error.message,
});

const locate = (stored: StoredAt | undefined): string | undefined =>
  stored === undefined ? undefined : `${stored.repository}@${stored.digest}`;

const summarize = (outputs: readonly StoredSignature[]): AuditRecord['results'] =>
  outputs.map(({ sealed, stored }) => ({
    format: sealed.format,
    sha256: sha256(sealed.content).slice(7),
    stored: locate(stored),
  }));

/** Records a denial. Never rejects: a request is denied whether or not that can be written down. */
export const recordDenial = async (
  audit: AuditSink,
  question: Question,
  decision: Decision,
  error: CountersignError,
  context: Context,
): Promise<void> => {
  const record = recordOf('denied', question, decision, context, {
    intent: undefined,
    keyVersion: undefined,
    member: undefined,
    digest: undefined,
    formats: question.formats,
    results: [],
    error: describeError(error),
  });
  await audit.write(record).catch(() => undefined);
};

const nothing = (): void => {};

/** Opens the trail of one allowed request. */
export const openTrail = (audit: AuditSink, question: Question, decision: Decision, context: Context): AuditTrail => {
  let intent: string | undefined;
  let keyVersion: string | undefined;
  let member: string | undefined;
  let digest: string | undefined;
  let formats: readonly string[] = question.formats;
  const write = (
    event: AuditRecord['event'],
    results: AuditRecord['results'],
    error: AuditRecord['error'],
    until: Until,
  ): Promise<string> => {
    const outcome = { intent, keyVersion, member, digest, formats, results, error };
    const record = recordOf(event, question, decision, context, outcome);
    const { id } = record;
    return audit.write(record, until).then(() => id);
  };
  return {
    intended: (key, subjectDigest, planned) => {
      keyVersion = key.version;
      member = key.member;
      digest = subjectDigest;
      formats = planned;
      intent = undefined;
      return write('intended', [], undefined, 'durable').then((id) => {
        intent = id;
        return id;
      });
    },
    existing: (key, subjectDigest, { outputs, auditId }) => {
      keyVersion = key.version;
      member = key.member;
      digest = subjectDigest;
      formats = outputs.map(({ sealed }) => sealed.format);
      intent = auditId;
      return write('existing', summarize(outputs), undefined, 'written');
    },
    completed: (outputs) => write('completed', summarize(outputs), undefined, 'written').then(nothing),
    failed: (error, outputs) =>
      write('failed', summarize(outputs), describeError(error), 'written').then(nothing, nothing),
  };
};

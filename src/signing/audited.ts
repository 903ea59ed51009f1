import { auditRecord } from '../audit/record.ts';
import type { AuditRecord, AuditSink, Until } from '../audit/port.ts';
import type { Context } from '../model/context.ts';
import type { Decision, Question } from '../model/decision.ts';
import type { Digest } from '../model/digest.ts';
import type { CountersignError } from '../model/error.ts';
import type { StoredSignature } from '../model/result.ts';
import { sha256 } from '../model/digest.ts';
import type { StoredAt } from '../model/signature.ts';

/**
 * The audit records of one request. The intent must survive a power failure, since it tells that a key may have been used;
 * how it ended is written before the answer, and would be missing, not wrong, after one.
 */
export type AuditTrail = {
  /** The key may be used only after this has resolved with the record's id. Rejects `unavailable`: sign nothing then. */
  intended(keyVersion: string, digest: Digest): Promise<string>;
  completed(outputs: readonly StoredSignature[]): Promise<void>;
  /** Never rejects: the error that is being reported matters more. */
  failed(error: CountersignError, outputs: readonly StoredSignature[]): Promise<void>;
};

type Shared = Omit<AuditRecord, 'id' | 'time' | 'event' | 'intent' | 'keyVersion' | 'digest' | 'results' | 'error'>;

const sharedFields = (question: Question, decision: Decision, context: Context): Shared => ({
  requestId: context.requestId,
  verb: question.verb,
  caller: { issuer: question.caller.issuer, subject: question.caller.subject },
  claims: decision.claims,
  rule: decision.rule,
  policyHash: decision.policyHash,
  key: question.key,
  subject: question.subject?.name,
  formats: question.formats,
  predicateType: question.predicateType,
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
  const record = auditRecord('denied', {
    ...sharedFields(question, decision, context),
    intent: undefined,
    keyVersion: undefined,
    digest: undefined,
    results: [],
    error: describeError(error),
  });
  await audit.write(record).catch(() => undefined);
};

/** Opens the trail of one allowed request. */
export const openTrail = (audit: AuditSink, question: Question, decision: Decision, context: Context): AuditTrail => {
  const shared = sharedFields(question, decision, context);
  let intent: string | undefined;
  let keyVersion: string | undefined;
  let digest: string | undefined;
  const write = async (
    event: AuditRecord['event'],
    rest: Pick<AuditRecord, 'intent' | 'results' | 'error'>,
    until: Until,
  ): Promise<string> => {
    const record = auditRecord(event, { ...shared, keyVersion, digest, ...rest });
    await audit.write(record, until);
    return record.id;
  };
  return {
    intended: async (version, subjectDigest) => {
      keyVersion = version;
      digest = subjectDigest;
      intent = await write('intended', { intent: undefined, results: [], error: undefined }, 'durable');
      return intent;
    },
    completed: async (outputs) => {
      await write('completed', { intent, results: summarize(outputs), error: undefined }, 'written');
    },
    failed: async (error, outputs) => {
      const rest = { intent, results: summarize(outputs), error: describeError(error) };
      await write('failed', rest, 'written').catch(() => undefined);
    },
  };
};

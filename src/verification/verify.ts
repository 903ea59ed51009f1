import { maxSignatureBytes } from '../formats/malformed.ts';
import { toCountersignError } from '../model/error.ts';
import type { SignatureVerdict, Step, Verdict } from '../model/verdict.ts';
import { checks, shown, shownAnnotations } from './checks.ts';
import { type OpenedCandidate, openCandidate } from './open-candidate.ts';
import { layoutNotices } from './layout-notices.ts';
import type { Candidate, Question, VerificationKey } from './question.ts';

/**
 * Verifies one candidate: the steps `read`, `format`, `content-type`, `key`, `signature`, `subject`, `annotations`, in this
 * order until one fails. Never throws for what a candidate holds; pure and synchronous.
 */
export const verifyCandidate = (question: Question, candidate: Candidate): SignatureVerdict => {
  const steps: Step[] = [];
  const record = (name: string, passed: boolean, detail: string): void => {
    steps.push({ name, passed, detail });
  };
  const unread = { ...base(candidate), steps };

  const size = candidate.content.length;
  if (size === 0 || size > maxSignatureBytes) {
    const detail = size === 0 ? 'It is empty.' : `It is longer than ${maxSignatureBytes} bytes.`;
    record('read', false, detail);
    return { ...unread, reason: size === 0 ? 'MALFORMED' : 'TOO_LARGE', message: detail };
  }
  record('read', true, `${size} bytes.`);

  let opened: OpenedCandidate;
  try {
    opened = openCandidate(candidate, question.subject);
  } catch (caught) {
    const error = toCountersignError(caught);
    if (error.code !== 'invalid_argument') throw error;
    record('format', false, error.message);
    return {
      ...unread,
      reason: error.reason.startsWith('MALFORMED_') ? 'MALFORMED' : error.reason,
      message: error.message,
    };
  }
  record('format', true, opened.format === undefined ? 'A bare signature.' : `Format ${opened.format}.`);

  let signer: VerificationKey | undefined;
  for (const check of checks) {
    const outcome = check.run(opened, question);
    record(check.name, outcome.passed, outcome.detail);
    if (!outcome.passed) {
      return { ...unread, ...described(opened, question, signer), reason: outcome.reason, message: outcome.detail };
    }
    signer = outcome.signer ?? signer;
  }
  // Without a signer nothing was verified, whatever the list of checks says.
  if (signer === undefined) throw new TypeError('no check found out who signed');
  return {
    ...unread,
    ...described(opened, question, signer),
    counts: true,
    reason: 'OK',
    message: `Key ${signer.name} made it over ${question.subject.digest}.`,
    statement: opened.content.kind === 'statement' ? opened.content.statement : undefined,
  };
};

const base = (candidate: Candidate): Omit<SignatureVerdict, 'reason' | 'message' | 'steps'> => ({
  counts: false,
  format: 'unknown',
  mediaType: candidate.mediaType ?? '',
  storedAt: candidate.storedAt,
  key: undefined,
  keyHint: undefined,
  predicateType: undefined,
  annotations: {},
  statement: undefined,
});

/** What a verdict says of a candidate that could be read; annotations only once its signature is verified. */
const described = (opened: OpenedCandidate, question: Question, signer: VerificationKey | undefined) => ({
  format: opened.format ?? ('unknown' as const),
  key: signer?.name,
  keyHint: signer?.hint ?? (opened.keyHint && shown(opened.keyHint)),
  predicateType: opened.content.kind === 'statement' ? shown(opened.content.predicateType) : undefined,
  annotations: signer === undefined ? {} : shownAnnotations(opened.content, question),
});

/** The verdict over candidates that were verified one by one: one that counts is enough. */
export const verdictOf = (question: Question, signatures: readonly SignatureVerdict[]): Verdict => ({
  verified: signatures.some(({ counts }) => counts),
  summary: summary(question, signatures),
  digest: question.subject.digest,
  signatures,
  notices: layoutNotices(question, signatures),
});

const summary = (question: Question, signatures: readonly SignatureVerdict[]): string => {
  const { expect, subject } = question;
  const wanted = expect.kind === 'signature' ? 'signature' : `attestation of type ${expect.predicateType}`;
  const counting = signatures.filter(({ counts }) => counts);
  const [first] = counting;
  if (first !== undefined) {
    return `Verified: ${counting.length} of ${signatures.length} found count, the first by key ${first.key} over ${subject.digest}.`;
  }
  if (signatures.length === 0) return `Not verified: no ${wanted} was found for ${subject.digest}.`;
  const reasons = new Map<string, number>();
  for (const { reason } of signatures) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const listed = [...reasons].map(([reason, count]) => (count === 1 ? reason : `${count} times ${reason}`)).join(', ');
  return `Not verified: of ${signatures.length} found for ${subject.digest} none counts as the wanted ${wanted}: ${listed}.`;
};

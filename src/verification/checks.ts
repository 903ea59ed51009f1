import { hash } from 'node:crypto';
import { signPredicateType } from '../formats/statement.ts';
import { digestHex } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import type { ToSign } from '../model/signature.ts';
import type { OpenedCandidate } from './open-candidate.ts';
import type { Question, VerificationKey } from './question.ts';
import { verifyAsCosign } from './verify-as-cosign.ts';

/** How one check ended; a check that finds out who signed says so. */
export type Outcome =
  | { readonly passed: true; readonly detail: string; readonly signer?: VerificationKey }
  | { readonly passed: false; readonly reason: string; readonly detail: string };

/** One step of verification. Pure. A verification by certificate is one more of these, in place of `key` and `signature`. */
export type Check = { readonly name: string; readonly run: (opened: OpenedCandidate, question: Question) => Outcome };

const passed = (detail: string): Outcome => ({ passed: true, detail });
const failed = (reason: string, detail: string): Outcome => ({ passed: false, reason, detail });

/** Is it the kind of thing that was asked for? First, because it costs nothing and most of what lies there is something else. */
const contentType: Check = {
  name: 'content-type',
  run: ({ content }, { expect, subject }) => {
    if (content.kind === 'statement') {
      const isSignature = content.predicateType === signPredicateType;
      if (expect.kind === 'signature') {
        return isSignature
          ? passed('It is a signature.')
          : failed(
              'WRONG_PREDICATE_TYPE',
              `It is an attestation of type ${shown(content.predicateType)}, which does not count as a signature.`,
            );
      }
      if (isSignature)
        return failed('WRONG_PREDICATE_TYPE', 'It is a signature, which does not count as an attestation.');
      return content.predicateType === expect.predicateType
        ? passed(`It is an attestation of type ${shown(content.predicateType)}.`)
        : failed(
            'WRONG_PREDICATE_TYPE',
            `It is an attestation of type ${shown(content.predicateType)}; wanted is ${shown(expect.predicateType)}.`,
          );
    }
    if (expect.kind === 'attestation')
      return failed('WRONG_CONTENT', 'It is a signature, which does not count as an attestation.');
    return content.kind === subject.kind
      ? passed('It is a signature.')
      : failed(
          'WRONG_CONTENT',
          `It is a signature of ${content.kind === 'blob' ? 'a blob' : 'an image'}, not of ${subject.kind === 'blob' ? 'a blob' : 'an image'}.`,
        );
  },
};

/** Can one of the trusted keys have made it at all? */
const key: Check = {
  name: 'key',
  run: ({ material, keyHint }, { keys }) => {
    if (material === 'certificate') {
      return failed('WRONG_MATERIAL', 'It was made with a certificate; trusted are public keys.');
    }
    if (keys.length === 0) return failed('WRONG_KEY', 'There is no trusted key.');
    const hinted = keys.find((each) => each.hint === keyHint);
    if (hinted !== undefined) return passed(`It says that key ${hinted.name} made it.`);
    const tried = keys.length === 1 ? 'the trusted key is tried' : `all ${keys.length} trusted keys are tried`;
    return passed(
      keyHint === undefined ? `It does not say which key made it; ${tried}.` : `It names another key; ${tried}.`,
    );
  },
};

/** What the signature covers, given the subject; or why that cannot be known. */
const signedBytes = (opened: OpenedCandidate, { subject }: Question): ToSign | Outcome => {
  if (opened.message !== undefined) return { kind: 'message', message: opened.message };
  if (subject.kind !== 'blob') return failed('WRONG_CONTENT', 'It covers a blob.');
  const claimed = opened.messageDigest;
  const algorithm = claimed === undefined ? 'sha256' : `sha${claimed.length * 8}`;
  if (subject.content === undefined && algorithm !== 'sha256') {
    return failed('CONTENT_NEEDED', `It covers the ${algorithm} of the blob; send the blob's content to verify it.`);
  }
  if (claimed !== undefined) {
    const actual =
      subject.content === undefined || algorithm === 'sha256'
        ? Buffer.from(digestHex(subject.digest), 'hex')
        : hash(algorithm, subject.content, 'buffer');
    if (!actual.equals(claimed)) return failed('DIGEST_MISMATCH', 'It covers another blob: the digest differs.');
  }
  return subject.content === undefined
    ? { kind: 'digest', digest: Buffer.from(digestHex(subject.digest), 'hex') }
    : { kind: 'message', message: subject.content };
};

const signedBytesOf = (toSign: ToSign): Uint8Array => (toSign.kind === 'message' ? toSign.message : toSign.digest);

const alreadyVerified = ({ verified, keys }: Question, toSign: ToSign, made: Uint8Array): boolean =>
  verified !== undefined &&
  keys.length === 1 &&
  verified.toSign.kind === toSign.kind &&
  Buffer.compare(signedBytesOf(verified.toSign), signedBytesOf(toSign)) === 0 &&
  Buffer.compare(verified.signature, made) === 0;

/** Which trusted key made it? A hint is unsigned, so it only says which key to try first, and what failure means. */
const signature: Check = {
  name: 'signature',
  run: (opened, question) => {
    const toSign = signedBytes(opened, question);
    if ('passed' in toSign) return toSign;
    const hinted = question.keys.filter((each) => each.hint === opened.keyHint);
    const others = question.keys.filter((each) => each.hint !== opened.keyHint);
    let needsContent = false;
    for (const each of [...hinted, ...others]) {
      try {
        if (alreadyVerified(question, toSign, opened.signature) || verifyAsCosign(each, toSign, opened.signature)) {
          return { passed: true, detail: `Key ${each.name} made it.`, signer: each };
        }
      } catch (caught) {
        if (!(caught instanceof CountersignError && caught.reason === 'DIGEST_NOT_SUPPORTED')) throw caught;
        needsContent = true;
      }
    }
    if (needsContent)
      return failed('CONTENT_NEEDED', "A trusted key can only verify with the blob's content; send it.");
    if (opened.material === 'key-or-certificate') {
      return failed('WRONG_MATERIAL', 'No trusted key made it; it carries a certificate, and trusted are public keys.');
    }
    if (hinted.length > 0)
      return failed(
        'TAMPERED',
        'It names a trusted key, but the signature does not fit: it or the content was changed.',
      );
    return failed('WRONG_KEY', 'No trusted key made it, or its content was changed.');
  },
};

/** Does what was signed speak of the subject? */
const subject: Check = {
  name: 'subject',
  run: ({ content }, question) => {
    const { digest } = question.subject;
    const same =
      content.kind === 'blob' ||
      (content.kind === 'image' ? content.digest === digest : subjectsOf(content, digest).length > 0);
    return same
      ? passed(`It speaks of ${digest}.`)
      : failed(
          'DIGEST_MISMATCH',
          `It speaks of ${content.kind === 'image' ? content.digest : 'something else'}, not of ${digest}.`,
        );
  },
};

/** Are the wanted annotations in what was signed? */
const annotations: Check = {
  name: 'annotations',
  run: ({ content }, question) => {
    const wanted = Object.entries(question.annotations);
    if (wanted.length === 0) return passed('None are wanted.');
    const fits = annotationSets(content, question).some((have) =>
      wanted.every(([name, value]) => have[name] === value),
    );
    if (fits) return passed(`All ${wanted.length} are there.`);
    const [have = {}] = annotationSets(content, question);
    const missing = wanted.filter(([name, value]) => have[name] !== value).map(([name]) => shown(name));
    return failed('ANNOTATION_MISMATCH', `Absent or of another value: ${missing.join(', ')}.`);
  },
};

type Content = OpenedCandidate['content'];

const subjectsOf = (content: Extract<Content, { kind: 'statement' }>, digest: string) =>
  content.subjects.filter((each) => each.digest === digest);

/** The annotations of each thing signed that is the subject. */
const annotationSets = (content: Content, question: Question): readonly Readonly<Record<string, string>>[] => {
  if (content.kind === 'blob') return [];
  if (content.kind === 'image') return [content.annotations];
  return subjectsOf(content, question.subject.digest).map((each) => each.annotations);
};

/** The signed annotations that a verdict shows: those that fit, else the first. */
export const shownAnnotations = (content: Content, question: Question): Readonly<Record<string, string>> => {
  const sets = annotationSets(content, question);
  const wanted = Object.entries(question.annotations);
  return sets.find((have) => wanted.every(([name, value]) => have[name] === value)) ?? sets[0] ?? {};
};

/** Text from an unverified signature, short enough for a sentence; a wanted predicate type is never longer. */
export const shown = (text: string): string => (text.length > 255 ? `${text.slice(0, 255).toWellFormed()}...` : text);

/** The steps in their order; the first that fails ends it. */
export const checks: readonly Check[] = [contentType, key, signature, subject, annotations];

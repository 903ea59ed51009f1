import { hash } from 'node:crypto';
import { canonicalJson } from '../codec/canonical-json.ts';
import { isJsonObject, parseStrictJson } from '../codec/strict-json.ts';
import { maxSignatureBytes, maxSignatureDepth } from '../formats/malformed.ts';
import type { SignatureFormat } from '../formats/port.ts';
import type { KeyVersion, Signable } from '../model/signature.ts';
import { reservedAnnotationPrefix } from '../model/signature.ts';
import { custom } from '../predicates/custom.ts';

/**
 * What a signature says, without what differs between two tries: the record of who asked, and the time in cosign's `custom`
 * predicate. Two signatures by one key version with equal contents are equal. Stored bytes -> canonical JSON (RFC 8785).
 * Throws `invalid_argument` for what the format cannot read.
 */
export const comparable = (
  format: SignatureFormat,
  content: Uint8Array,
  annotations: Readonly<Record<string, string>>,
): string => {
  const opened = format.open(content, annotations);
  const signed = opened.content.kind === 'statement' ? opened.content.statement : content;
  const json = parseStrictJson(signed, { maxBytes: maxSignatureBytes, maxDepth: maxSignatureDepth });
  return canonicalJson(isJsonObject(json) ? settled(json) : json);
};

type Json = Readonly<Record<string, unknown>>;

const settled = (json: Json): Json => {
  if (Object.hasOwn(json, 'critical')) return { ...json, optional: withoutRecord(json['optional']) };
  const { subject, predicateType, predicate } = json;
  return {
    ...json,
    subject: Array.isArray(subject) ? subject.map(settledSubject) : subject,
    ...(predicateType === custom.uri && isJsonObject(predicate) ? { predicate: { ...predicate, Timestamp: '' } } : {}),
  };
};

const settledSubject = (subject: unknown): unknown =>
  isJsonObject(subject) ? { ...subject, annotations: withoutRecord(subject['annotations']) } : subject;

/** Null when nothing is left. */
const withoutRecord = (annotations: unknown): unknown => {
  if (!isJsonObject(annotations)) return annotations ?? null;
  const others = Object.entries(annotations).filter(([name]) => !name.startsWith(reservedAnnotationPrefix));
  return others.length === 0 ? null : Object.fromEntries(others);
};

/** What a signature would say, as `comparable` has it, before it is made. */
export const comparableOf = (plain: Signable, format: SignatureFormat, key: KeyVersion): string => {
  // Any signature will do: it is not looked at.
  const sealed = format.seal(plain, format.message(plain, new Date(0)), Uint8Array.of(0), key, new Date(0));
  return comparable(format, sealed.content, sealed.attachment.annotations);
};

/** The mark `content` of such a signature. */
export const contentMark = (content: string, format: SignatureFormat, key: KeyVersion): string =>
  hash('sha256', canonicalJson([format.name, key.hint, key.algorithm, content]));

/** The mark `request` of a caller's request. */
export const requestMark = (caller: { readonly issuer: string; readonly subject: string }, requestId: string): string =>
  hash('sha256', canonicalJson([caller.issuer, caller.subject, requestId]));

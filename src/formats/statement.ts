import { parseStrictJson } from '../codec/strict-json.ts';
import { isDigest, type Digest } from '../model/digest.ts';
import { jsonString, stringMap } from './cosign-json.ts';
import { malformed, maxSignatureBytes, maxSignatureDepth } from './malformed.ts';

/** `payloadType` of every DSSE envelope that we make or accept. */
export const inTotoPayloadType = 'application/vnd.in-toto+json';

/** The predicate type by which cosign 3 marks a statement as an image signature; no attestation may use it. */
export const signPredicateType = 'https://sigstore.dev/cosign/sign/v1';

const statementTypes = {
  'v0.1': 'https://in-toto.io/Statement/v0.1',
  v1: 'https://in-toto.io/Statement/v1',
} as const;

/** sigstore-go's limits (GHSA-cq38-jh5f-37mq). */
const maxSubjects = 1024;
const maxDigestsPerSubject = 32;

export type StatementSubject = {
  readonly name?: string;
  readonly digest: Digest;
  readonly annotations?: Readonly<Record<string, string>>;
};

/**
 * Writes an in-toto statement (in-toto attestation framework, "Statement") as compact UTF-8 JSON, members in the order
 * that cosign 3.1.1 writes them. The same input gives the same bytes.
 *
 * @param predicate a JSON value, an object for every type that cosign reads.
 * @param version cosign attests with `v0.1` and signs with `v1`; it verifies annotations on the subjects of both.
 */
export const buildStatement = (parts: {
  readonly subjects: readonly StatementSubject[];
  readonly predicateType: string;
  readonly predicate: unknown;
  readonly version: keyof typeof statementTypes;
}): Uint8Array => {
  const subjects = parts.subjects.map(({ name, digest, annotations }) => {
    const members = [
      ...(name === undefined ? [] : [`"name":${jsonString(name)}`]),
      `"digest":{"sha256":"${digest.slice('sha256:'.length)}"}`,
      ...(annotations === undefined ? [] : [`"annotations":${stringMap(annotations, jsonString)}`]),
    ];
    return `{${members.join(',')}}`;
  });
  return Buffer.from(
    `{"_type":"${statementTypes[parts.version]}","subject":[${subjects.join(',')}],` +
      `"predicateType":${jsonString(parts.predicateType)},"predicate":${JSON.stringify(parts.predicate)}}`,
  );
};

/** What a statement claims. Nothing here is verified. */
export type ParsedStatement = {
  readonly predicateType: string;
  /** Those subjects that have a SHA-256 digest; the annotations whose values are text. */
  readonly subjects: readonly { readonly digest: Digest; readonly annotations: Readonly<Record<string, string>> }[];
};

/**
 * Reads an in-toto statement v0.1 or v1. Unknown members are allowed, as the specification asks of consumers.
 *
 * @throws invalid_argument `MALFORMED_STATEMENT` for anything that is not one.
 */
export const parseStatement = (bytes: Uint8Array): ParsedStatement => {
  const statement = object(
    parseStrictJson(bytes, { maxBytes: maxSignatureBytes, maxDepth: maxSignatureDepth }),
    'the payload',
  );
  const type = statement['_type'];
  if (type !== statementTypes['v0.1'] && type !== statementTypes.v1) fail('_type is not in-toto Statement v0.1 or v1');
  const predicateType = statement['predicateType'];
  if (typeof predicateType !== 'string' || predicateType === '') fail('predicateType is not a text');
  const predicate = statement['predicate'];
  if (predicate !== undefined && predicate !== null) object(predicate, 'predicate');
  const subjects = statement['subject'];
  if (!Array.isArray(subjects) || subjects.length === 0) fail('subject is not a list with at least one entry');
  if (subjects.length > maxSubjects) fail(`more than ${maxSubjects} subjects`);
  return { predicateType, subjects: subjects.flatMap(parseSubject) };
};

const parseSubject = (value: unknown, index: number): ParsedStatement['subjects'][number][] => {
  const at = `subject[${index}]`;
  const subject = object(value, at);
  const name = subject['name'];
  if (name !== undefined && name !== null && typeof name !== 'string') fail(`${at}.name is not a text`);
  const digests = Object.entries(object(subject['digest'], `${at}.digest`));
  if (digests.length === 0) fail(`${at}.digest is empty`);
  if (digests.length > maxDigestsPerSubject) fail(`${at} has more than ${maxDigestsPerSubject} digests`);
  if (digests.some(([, hex]) => typeof hex !== 'string')) fail(`${at}.digest has a value that is not a text`);
  const sha256 = digests.find(([algorithm]) => algorithm === 'sha256')?.[1];
  if (sha256 === undefined) return [];
  const digest = `sha256:${sha256}`;
  if (!isDigest(digest)) fail(`${at}.digest.sha256 is not 64 lower-case hex digits`);
  return [{ digest, annotations: textAnnotations(subject['annotations'], `${at}.annotations`) }];
};

const textAnnotations = (value: unknown, at: string): Readonly<Record<string, string>> => {
  if (value === undefined || value === null) return {};
  return textMembers(object(value, at));
};

/** The members of a JSON object whose values are text; a null-prototype object. */
export const textMembers = (value: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> => {
  const texts: Record<string, string> = Object.create(null);
  for (const [name, member] of Object.entries(value)) if (typeof member === 'string') texts[name] = member;
  return texts;
};

const object = (value: unknown, at: string): Readonly<Record<string, unknown>> => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(`${at} is not a JSON object`);
  return value as Readonly<Record<string, unknown>>;
};

const fail: (detail: string) => never = (detail) => {
  throw malformed('STATEMENT', detail);
};

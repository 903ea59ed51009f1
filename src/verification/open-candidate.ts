import { isUtf8 } from 'node:buffer';
import { decodeBase64 } from '../codec/base64.ts';
import { isJsonObject, parseStrictJson } from '../codec/strict-json.ts';
import { formatOf, formats } from '../formats/formats.ts';
import { maxSignatureBytes } from '../formats/malformed.ts';
import type { Opened } from '../formats/port.ts';
import { CountersignError } from '../model/error.ts';
import type { FormatName } from '../model/signature.ts';
import type { Candidate, Question } from './question.ts';

/** A candidate's signature, taken apart; `format` is undefined for a bare signature. */
export type OpenedCandidate = Omit<Opened, 'format'> & { readonly format: FormatName | undefined };

/** Longer than any base64 of an RSA-4096 or P-521 signature with a line break. */
const maxBareSignature = 1024;

/**
 * Takes a candidate apart by its media type, or when it has none by what it is: a Sigstore bundle, a DSSE envelope, or a bare
 * signature over a blob (DER, raw RSA or Ed25519 bytes, or base64 of them).
 *
 * @throws invalid_argument with a reason (`UNKNOWN_FORMAT`, `MALFORMED_...`) when it is none of these.
 */
export const openCandidate = (candidate: Candidate, subject: Question['subject']): OpenedCandidate => {
  const { content, mediaType, annotations } = candidate;
  if (mediaType !== undefined) {
    const format = formatOf(mediaType);
    if (format === undefined) throw unknown(`Its media type is not that of a signature: ${mediaType.slice(0, 128)}.`);
    return format.open(content, annotations);
  }
  const name = jsonFormat(content);
  if (name !== undefined) return formats[name].open(content, annotations);
  if (subject.kind !== 'blob') throw unknown('It is neither a Sigstore bundle nor a DSSE envelope.');
  return openBare(content);
};

const jsonFormat = (content: Uint8Array): FormatName | undefined => {
  // One of 256 raw signatures begins with a brace; hardly any is UTF-8 besides.
  const text = isUtf8(content) && /^[ \t\r\n]*\{/.test(Buffer.from(content.subarray(0, 64)).toString('latin1'));
  if (!text) return undefined;
  const json = parseStrictJson(content, { maxBytes: maxSignatureBytes });
  if (!isJsonObject(json)) return undefined;
  if (Object.hasOwn(json, 'payloadType')) return 'dsse';
  return 'bundle';
};

const openBare = (content: Uint8Array): OpenedCandidate => {
  if (content.length > maxBareSignature) throw unknown('It is neither JSON nor as short as a bare signature.');
  const text = Buffer.from(content).toString('latin1').trimEnd();
  return {
    format: undefined,
    signature: decodeBase64(text) ?? content,
    message: undefined,
    messageDigest: undefined,
    keyHint: undefined,
    material: 'key',
    content: { kind: 'blob' },
  };
};

const unknown = (message: string): CountersignError =>
  new CountersignError('invalid_argument', 'UNKNOWN_FORMAT', message);

import { z } from 'zod';
import { decodeBase64 } from '../codec/base64.ts';
import { pae } from '../codec/pae.ts';
import { CountersignError } from '../model/error.ts';
import { malformed } from './malformed.ts';
import type { Opened } from './port.ts';
import { inTotoPayloadType, parseStatement } from './statement.ts';

/** Canonical base64 (RFC 4648 section 4) of at least one byte. */
export const base64Bytes = z.string().transform((text, context) => {
  const bytes = decodeBase64(text);
  if (bytes !== undefined && bytes.length > 0) return bytes;
  context.addIssue({ code: 'custom', message: 'is not canonical base64 of at least one byte' });
  return z.NEVER;
});

const signatureFields = { sig: base64Bytes, keyid: z.string().nullish() };

/** Exactly one signature: more would leave open which of them a verifier means. */
const envelopeFields = <T extends z.ZodType>(signature: T) => ({
  payloadType: z.string(),
  payload: base64Bytes,
  signatures: z.tuple([signature]),
});

/** A DSSE envelope (DSSE v1, "Data Structure") on its own; members that it does not know are ignored, as the protocol says. */
export const envelopeSchema = z.object(envelopeFields(z.object(signatureFields)));

/** A DSSE envelope inside a bundle, where protojson refuses unknown members. */
export const bundledEnvelopeSchema = z.strictObject(envelopeFields(z.strictObject(signatureFields)));

/**
 * What an envelope says: an in-toto statement and one signature over its PAE.
 *
 * @throws invalid_argument `WRONG_PAYLOAD_TYPE` or `MALFORMED_STATEMENT`.
 */
export const openEnvelope = (
  envelope: z.infer<typeof envelopeSchema>,
): Pick<Opened, 'signature' | 'message' | 'keyHint' | 'content'> => {
  if (envelope.payloadType !== inTotoPayloadType) {
    throw new CountersignError(
      'invalid_argument',
      'WRONG_PAYLOAD_TYPE',
      `The envelope holds a payload of another type than ${inTotoPayloadType}.`,
    );
  }
  const [{ sig, keyid }] = envelope.signatures;
  return {
    signature: sig,
    message: pae(envelope.payloadType, envelope.payload),
    keyHint: keyid ? keyid : undefined,
    content: { kind: 'statement', statement: envelope.payload, ...parseStatement(envelope.payload) },
  };
};

/** Parses with a schema; the first thing that is wrong is named in the error. */
export const parseAs = <T>(what: 'BUNDLE' | 'ENVELOPE' | 'PAYLOAD', schema: z.ZodType<T>, value: unknown): T => {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // The names of members that are not known stand in it, of any length.
  const problem = `${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'unreadable'}`;
  throw malformed(what, problem.slice(0, 300).toWellFormed());
};

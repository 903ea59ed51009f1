import { encodeBase64 } from '../codec/base64.ts';
import { pae } from '../codec/pae.ts';
import { parseStrictJson } from '../codec/strict-json.ts';
import type { Signable } from '../model/signature.ts';
import { envelopeSchema, openEnvelope, parseAs } from './envelope.ts';
import { certificateAnnotation, materialOf, signatureAnnotation } from './legacy-annotations.ts';
import { maxSignatureBytes, maxSignatureDepth, notApplicable } from './malformed.ts';
import type { Opened, SignatureFormat } from './port.ts';
import { inTotoPayloadType } from './statement.ts';

const mediaType = 'application/vnd.dsse.envelope.v1+json';

const statementOf = (signable: Signable): Extract<Signable, { kind: 'statement' }> => {
  if (signable.kind === 'statement') return signable;
  throw notApplicable('dsse', signable.kind, 'it is for attestations, ask for format bundle');
};

/**
 * A DSSE envelope around an in-toto statement (DSSE v1; cosign ATTESTATION_SPEC). Lies as a layer at tag
 * `sha256-<hex>.att`.
 */
export const dsse: SignatureFormat = {
  name: 'dsse',
  message: (signable) => ({ kind: 'message', message: pae(inTotoPayloadType, statementOf(signable).statement) }),
  seal: (signable, _toSign, signature) => {
    const { statement, predicateType } = statementOf(signable);
    return {
      format: 'dsse',
      mediaType,
      content: Buffer.from(
        `{"payloadType":"${inTotoPayloadType}","payload":"${encodeBase64(statement)}",` +
          `"signatures":[{"keyid":"","sig":"${encodeBase64(signature)}"}]}`,
      ),
      signature,
      // cosign needs the signature's annotation to be there; for an envelope it is empty.
      attachment: { by: 'tag', suffix: 'att', annotations: { [signatureAnnotation]: '', predicateType } },
    };
  },
  reads: (type) => type === mediaType,
  open: (content, annotations): Opened => {
    const json = parseStrictJson(content, { maxBytes: maxSignatureBytes, maxDepth: maxSignatureDepth });
    return {
      format: 'dsse',
      messageDigest: undefined,
      material: materialOf(annotations[certificateAnnotation]),
      ...openEnvelope(parseAs('ENVELOPE', envelopeSchema, json)),
    };
  },
};

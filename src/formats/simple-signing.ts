import { z } from 'zod';
import { decodeBase64, encodeBase64 } from '../codec/base64.ts';
import { parseStrictJson } from '../codec/strict-json.ts';
import { isDigest } from '../model/digest.ts';
import type { Signable } from '../model/signature.ts';
import { goString, stringMap } from './cosign-json.ts';
import { parseAs } from './envelope.ts';
import { malformed, maxSignatureDepth, notApplicable } from './malformed.ts';
import { certificateAnnotation, materialOf, signatureAnnotation } from './legacy-annotations.ts';
import type { Opened, SignatureFormat } from './port.ts';
import { textMembers } from './statement.ts';

const mediaType = 'application/vnd.dev.cosign.simplesigning.v1+json';
const cosignType = 'cosign container image signature';
/** A payload is a few hundred bytes and its annotations. */
const maxPayloadBytes = 1024 * 1024;

/** cosign's `SimpleContainerImage`; what is critical must be understood whole, so nothing else may be in there. */
const payloadSchema = z.object({
  critical: z.strictObject({
    identity: z.strictObject({ 'docker-reference': z.string() }),
    image: z.strictObject({ 'docker-manifest-digest': z.string().refine(isDigest, 'is not a SHA-256 digest') }),
    type: z.literal(cosignType),
  }),
  optional: z.record(z.string(), z.unknown()).nullish(),
});

const payload = (signable: Signable): Buffer => {
  if (signable.kind !== 'image') throw notApplicable('simple-signing', signable.kind, 'ask for format bundle');
  const annotations = stringMap(signable.annotations, goString);
  return Buffer.from(
    `{"critical":{"identity":{"docker-reference":${goString(signable.repository)}},` +
      `"image":{"docker-manifest-digest":"${signable.digest}"},"type":"${cosignType}"},` +
      `"optional":${annotations === '{}' ? 'null' : annotations}}`,
  );
};

/**
 * cosign's first format, a Red Hat "simple signing" payload (cosign SIGNATURE_SPEC; containers/image
 * signature-protocols). The bytes are those of cosign 2.5.0. Lies as a layer at tag `sha256-<hex>.sig`.
 */
export const simpleSigning: SignatureFormat = {
  name: 'simple-signing',
  message: (signable) => ({ kind: 'message', message: payload(signable) }),
  seal: (signable, _toSign, signature) => ({
    format: 'simple-signing',
    mediaType,
    content: payload(signable),
    signature,
    attachment: { by: 'tag', suffix: 'sig', annotations: { [signatureAnnotation]: encodeBase64(signature) } },
  }),
  reads: (type) => type === mediaType,
  open: (content, annotations): Opened => {
    const json = parseStrictJson(content, { maxBytes: maxPayloadBytes, maxDepth: maxSignatureDepth });
    const { critical, optional } = parseAs('PAYLOAD', payloadSchema, json);
    // `cosign attach signature` keeps the line breaks of the file that it is given; nobody signed this annotation.
    const signature = decodeBase64((annotations[signatureAnnotation] ?? '').replace(/\r?\n/g, ''));
    if (signature === undefined || signature.length === 0) {
      throw malformed('PAYLOAD', `its annotation ${signatureAnnotation} is absent or not canonical base64`);
    }
    return {
      format: 'simple-signing',
      signature,
      message: content,
      messageDigest: undefined,
      keyHint: undefined,
      material: materialOf(annotations[certificateAnnotation]),
      content: {
        kind: 'image',
        digest: critical.image['docker-manifest-digest'],
        annotations: textMembers(optional ?? {}),
      },
    };
  },
};

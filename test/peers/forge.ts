// Signatures as a forger leaves them: well-formed, with what they say or their signature changed.
import assert from 'node:assert/strict';
import type { Attached, Sealed } from '../../src/model/signature.ts';
import { changeBase64Member, changeByte } from './tamper.ts';

/** What the tests have signed, as an annotation or in a predicate, and what a forger would like it to be. */
export const signedValue = 'staging';
export const forgedValue = 'release';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('utf8');

/** The same JSON with the signed value replaced inside its base64 payload: well-formed, and not what was signed. */
export const forgePayload = (content: Uint8Array): Buffer => {
  const json = text(content);
  const payload = /"payload"\s*:\s*"([A-Za-z0-9+/=]+)"/.exec(json)?.[1] ?? assert.fail(`no payload in ${json}`);
  const decoded = Buffer.from(payload, 'base64').toString('utf8');
  assert.ok(decoded.includes(signedValue), decoded);
  return Buffer.from(json.replace(payload, Buffer.from(decoded.replace(signedValue, forgedValue)).toString('base64')));
};

/** A bare signature in base64, as cosign writes it, with one bit changed. */
export const changeBare = (signature: Buffer): Buffer =>
  Buffer.from(changeByte(Buffer.from(signature.toString('latin1'), 'base64')).toString('base64'));

const simpleSigning = 'application/vnd.dev.cosign.simplesigning.v1+json';
const signatureAnnotation = 'dev.cosignproject.cosign/signature';

export const withForgedPayload = (attached: Attached): Attached => {
  if (attached.mediaType !== simpleSigning) return { ...attached, content: forgePayload(attached.content) };
  const json = text(attached.content);
  assert.ok(json.includes(signedValue), json);
  return { ...attached, content: Buffer.from(json.replace(signedValue, forgedValue)) };
};

export const withChangedSignature = (attached: Attached): Attached => {
  if (attached.mediaType !== simpleSigning) {
    return { ...attached, content: Buffer.from(changeBase64Member(text(attached.content), 'sig')) };
  }
  const signature = attached.annotations[signatureAnnotation] ?? assert.fail('no signature annotation');
  const changed = changeBare(Buffer.from(signature)).toString();
  return { ...attached, annotations: { ...attached.annotations, [signatureAnnotation]: changed } };
};

/** As it is to be attached: where cosign puts this media type. */
export const sealedFrom = ({ mediaType, content, annotations }: Attached): Sealed => {
  const base = { mediaType, content, signature: Buffer.alloc(0) };
  if (mediaType === simpleSigning) {
    return { ...base, format: 'simple-signing', attachment: { by: 'tag', suffix: 'sig', annotations } };
  }
  return mediaType.startsWith('application/vnd.dsse')
    ? { ...base, format: 'dsse', attachment: { by: 'tag', suffix: 'att', annotations } }
    : { ...base, format: 'bundle', attachment: { by: 'referrer', artifactType: mediaType, annotations } };
};

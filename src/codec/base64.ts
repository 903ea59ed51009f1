/** Canonical base64 with padding (RFC 4648 section 4): no white space, no stray bits, no other alphabet. */
const standard = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Canonical base64url without padding (RFC 7515 section 2). */
const url = /^[A-Za-z0-9_-]*$/;

/** Decodes canonical base64; undefined when the text is anything else. */
export const decodeBase64 = (text: string): Buffer | undefined => {
  if (!standard.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
};

/** Decodes canonical base64url without padding; undefined when the text is anything else. */
export const decodeBase64Url = (text: string): Buffer | undefined => {
  if (!url.test(text)) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
};

export const encodeBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

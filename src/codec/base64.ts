// Node's decoder passes over what it does not know; that the bytes encode to the same text again is the whole check. A regular
// expression would overflow its stack on a text of a few MiB.

/** Decodes canonical base64 with padding (RFC 4648 section 4): no white space, no stray bits, no other alphabet; else undefined. */
export const decodeBase64 = (text: string): Buffer | undefined => {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
};

/** Decodes canonical base64url without padding (RFC 7515 section 2); undefined when the text is anything else. */
export const decodeBase64Url = (text: string): Buffer | undefined => {
  const bytes = Buffer.from(text, 'base64url');
  return bytes.toString('base64url') === text ? bytes : undefined;
};

export const encodeBase64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

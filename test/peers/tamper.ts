/** Changes exactly one character of the base64 text of a JSON member, so that it still decodes to as many bytes. */
export const changeBase64Member = (json: string, member: string): string => {
  const found = new RegExp(`"${member}"\\s*:\\s*"([A-Za-z0-9+/=]+)"`).exec(json);
  if (found?.[1] === undefined) throw new Error(`there is no base64 member ${member} in ${json.slice(0, 200)}`);
  const start = found.index + found[0].length - 1 - found[1].length;
  // Well inside, clear of padding and of the framing of DER.
  const at = start + Math.floor(found[1].length / 2);
  const changed = json[at] === 'A' ? 'B' : 'A';
  return json.slice(0, at) + changed + json.slice(at + 1);
};

/** Changes one character of the type in a simple-signing payload. */
export const changePayload = (payload: string): string => {
  const at = payload.indexOf('cosign container image signature');
  if (at < 0) throw new Error('not a simple-signing payload');
  // "signature" -> "signaturE": still JSON, one byte changed, and the digest it names is the same.
  const last = at + 'cosign container image signature'.length - 1;
  return `${payload.slice(0, last)}E${payload.slice(last + 1)}`;
};

/** Changes one bit in the middle of some bytes. */
export const changeByte = (bytes: Uint8Array): Buffer => {
  const changed = Buffer.from(bytes);
  const at = Math.floor(changed.length / 2);
  changed.writeUInt8(changed.readUInt8(at) ^ 0x01, at);
  return changed;
};

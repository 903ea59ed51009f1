import { createHash, hash } from 'node:crypto';

/** A content digest as OCI writes it, `sha256:<64 lower-case hex>` (OCI image-spec, descriptor, "Digests"). */
export type Digest = `sha256:${string}`;

const pattern = /^sha256:[0-9a-f]{64}$/;

/** Is this text a whole, canonical SHA-256 digest? */
export const isDigest = (text: string): text is Digest => pattern.test(text);

/** The 64 hex characters after `sha256:`. */
export const digestHex = (digest: Digest): string => digest.slice(7);

/** The SHA-256 digest of some bytes. */
export const sha256 = (content: Uint8Array): Digest => `sha256:${hash('sha256', content, 'hex')}`;

/** That of bytes in pieces, one after the other. */
export const sha256Of = (pieces: Iterable<Uint8Array>): Digest => {
  const state = createHash('sha256');
  for (const piece of pieces) state.update(piece);
  return `sha256:${state.digest('hex')}`;
};

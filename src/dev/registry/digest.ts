import { hash } from 'node:crypto';

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Is this a digest of one of the algorithms that the embedded registry serves, sha256 and sha512, written in full? */
export const isContentDigest = (text: string): boolean => pattern.test(text);

/** Is this the digest of these bytes? False for an algorithm that is not served. */
export const isDigestOf = (digest: string, content: Uint8Array): boolean => {
  if (!isContentDigest(digest)) return false;
  const algorithm = digest.slice(0, digest.indexOf(':'));
  return digest === `${algorithm}:${hash(algorithm, content, 'hex')}`;
};

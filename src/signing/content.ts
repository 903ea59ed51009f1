import type { Digest } from '../model/digest.ts';
import type { Signable } from '../model/signature.ts';

/** What is to be signed, once the digest is known. */
export type Content = {
  /** With the record of who asked. */
  signable(digest: Digest, record: () => Readonly<Record<string, string>>): Signable;
  /** Without anything that differs between two tries. */
  plain(digest: Digest): Signable;
};

import { marks } from '../model/signature.ts';

/** Entries of a list that were counted and not read. `signatures`: those of them that are no attestations. */
export type Skimmed = { readonly entries: number; readonly signatures: number };

export const nothingSkimmed: Skimmed = { entries: 0, signatures: 0 };

/** Reading a shorter page whole costs little. */
const minPageBytes = 16 * 1024;
const signPredicateType = Buffer.from('"https://sigstore.dev/cosign/sign/v1"');
const digestField = Buffer.from('"digest"');
const contentMark = Buffer.from(`"${marks.content}"`);

/**
 * Looks over a long page of referrers, of which none is wanted unless it carries one of `wanted` (marks, see `model/signature.ts`).
 * Undefined when the page must be read: one of these occurs in it, or something lies there that carries no mark, which could be
 * anything. Reading it all takes ten times as long, and most of what a signature costs where there are a thousand.
 *
 * Exact for what we and other tools write. Who may write there can hide an unmarked entry behind another that carries two marks;
 * then an equal signature may be overlooked and made again, as if it had been deleted.
 */
export const skim = (page: Uint8Array, wanted: Iterable<string>): Skimmed | undefined => {
  if (page.byteLength < minPageBytes) return undefined;
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  for (const mark of wanted) if (bytes.includes(mark)) return undefined;
  const entries = occurrences(bytes, digestField);
  if (occurrences(bytes, contentMark) !== entries) return undefined;
  return { entries, signatures: occurrences(bytes, signPredicateType) };
};

const occurrences = (bytes: Buffer, sought: Buffer): number => {
  let count = 0;
  for (let at = bytes.indexOf(sought); at !== -1; at = bytes.indexOf(sought, at + sought.length)) count += 1;
  return count;
};

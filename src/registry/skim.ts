import { marks } from '../model/signature.ts';

/** Entries of a list that were counted and not read. `sought`: is one of them of the kind that is sought? */
export type Skimmed = { readonly entries: number; readonly sought: boolean };

export const nothingSkimmed: Skimmed = { entries: 0, sought: false };

/** Reading a shorter page whole costs little. */
const minPageBytes = 16 * 1024;
const signPredicateType = Buffer.from('/cosign/sign/v1"');
/** The ends of `"size":` and of the mark's name: sought by a letter that is rare there, they are found three times as fast. */
const sizeField = Buffer.from('ze":');
const contentMark = Buffer.from(`${marks.content.slice(marks.content.indexOf('/'))}":`);

/**
 * Looks over a long page of referrers, of which none is wanted unless it carries one of `wanted` (marks, see `model/signature.ts`).
 * Undefined when the page must be read: one of these occurs in it, or something lies there that carries no mark, which could be
 * anything. Reading it all takes ten times as long, and most of what a signature costs where there are a thousand.
 *
 * Exact for what we and other tools write. Who may write there can hide an unmarked entry behind another that carries two marks;
 * then an equal signature may be overlooked and made again, as if it had been deleted.
 */
export const skim = (page: Uint8Array, suffix: 'sig' | 'att', wanted: Iterable<string>): Skimmed | undefined => {
  if (page.byteLength < minPageBytes) return undefined;
  const bytes = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
  for (const mark of wanted) if (bytes.includes(mark)) return undefined;
  const entries = occurrences(bytes, sizeField);
  if (occurrences(bytes, contentMark) !== entries) return undefined;
  const sought = suffix === 'sig' ? bytes.includes(signPredicateType) : occurrences(bytes, signPredicateType) < entries;
  return { entries, sought };
};

const occurrences = (bytes: Buffer, sought: Buffer): number => {
  let count = 0;
  for (let at = bytes.indexOf(sought); at !== -1; at = bytes.indexOf(sought, at + sought.length)) count += 1;
  return count;
};

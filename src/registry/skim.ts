import { marks } from '../model/signature.ts';
import { createCache } from './cache.ts';
import { appended, growing, type GrowingBytes } from './growing-bytes.ts';

/** Entries of a list that were counted and not read. `sought`: is one of them of the kind that is sought? */
export type Skimmed = { readonly entries: number; readonly sought: boolean };

export const nothingSkimmed: Skimmed = { entries: 0, sought: false };

/**
 * Looks over a long page of referrers, of which none is wanted unless it carries one of `wanted` (marks, see `model/signature.ts`).
 * Undefined when the page must be read: one of these occurs in it, or something lies there that carries no mark, which could be
 * anything. Reading it all takes ten times as long, and most of what a signature costs where there are a thousand.
 *
 * `url`: where the page came from. What it begins with as it did the last time is not counted again.
 *
 * Exact for what we and other tools write. Who may write there can hide an unmarked entry behind another that carries two marks;
 * then an equal signature may be overlooked and made again, as if it had been deleted.
 */
export type Skim = (
  page: Uint8Array,
  url: string,
  suffix: 'sig' | 'att',
  wanted: Iterable<string>,
) => Skimmed | undefined;

/** Reading a shorter page whole costs little. */
const minPageBytes = 16 * 1024;
/** The ends of `"size":` and of the mark's name: sought by a letter that is rare there, they are found three times as fast. */
const sizeField = Buffer.from('ze":');
const contentMark = Buffer.from(`${marks.content.slice(marks.content.indexOf('/'))}":`);
const signPredicateType = Buffer.from('/cosign/sign/v1"');
const longest = Math.max(...[sizeField, contentMark, signPredicateType].map(({ byteLength }) => byteLength));
/** The end of a list is no beginning of a longer one; a new entry and that end are counted as fast as compared. */
const endBytes = 1_024;
const cacheBytes = 16 * 1024 * 1024;

type Counts = { readonly entries: number; readonly marked: number; readonly signatures: number };
/** Counts of what begins before `upTo`, and the bytes that a page with the same counts begins with. */
type Counted = { readonly start: GrowingBytes; readonly upTo: number; readonly counts: Counts };
const uncounted: Counted = {
  start: growing(Buffer.alloc(0)),
  upTo: 0,
  counts: { entries: 0, marked: 0, signatures: 0 },
};

/** Keeps up to 16 MiB of pages, but for their ends. */
export const createSkim = (): Skim => {
  const seen = createCache<Counted>(cacheBytes, ({ start }) => start.room.buffer.byteLength + 500);
  return (page, url, suffix, wanted) => {
    if (page.byteLength < minPageBytes) return undefined;
    const bytes = Buffer.from(page.buffer, page.byteOffset, page.byteLength);
    for (const mark of wanted) if (bytes.includes(mark)) return undefined;
    const before = seen.get(url) ?? uncounted;
    const { start, upTo, counts } = beginsWith(bytes, before.start.bytes) ? before : uncounted;
    const end = Math.max(upTo, bytes.byteLength - endBytes);
    const known = counted(bytes, upTo, end, counts);
    const more = bytes.subarray(start.bytes.byteLength, end + longest);
    seen.set(url, { start: appended(start, more), upTo: end, counts: known });
    const { entries, marked, signatures } = counted(bytes, end, bytes.byteLength, known);
    if (marked !== entries) return undefined;
    return { entries, sought: suffix === 'sig' ? signatures > 0 : signatures < entries };
  };
};

const beginsWith = (bytes: Buffer, start: Uint8Array): boolean =>
  bytes.byteLength >= start.byteLength && bytes.subarray(0, start.byteLength).equals(start);

const counted = (bytes: Buffer, from: number, to: number, before: Counts): Counts => ({
  entries: before.entries + occurrences(bytes, sizeField, from, to),
  marked: before.marked + occurrences(bytes, contentMark, from, to),
  signatures: before.signatures + occurrences(bytes, signPredicateType, from, to),
});

/** Of those that begin between `from` and `to`. */
const occurrences = (bytes: Buffer, sought: Buffer, from: number, to: number): number => {
  let count = 0;
  for (let at = bytes.indexOf(sought, from); at !== -1 && at < to; at = bytes.indexOf(sought, at + sought.length)) {
    count += 1;
  }
  return count;
};

/** Byte positions, both inclusive. */
export type ByteRange = { readonly first: number; readonly last: number };

/**
 * Which part of `size` bytes a `Range` header asks for (RFC 9110, section 14). One range only: several, another unit, or
 * what is no range at all are answered with the whole, as the RFC allows.
 */
export const readRange = (header: string | undefined, size: number): ByteRange | 'whole' | 'unsatisfiable' => {
  const [matched, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? [];
  if (matched === undefined || (from === '' && to === '')) return 'whole';
  const range =
    from === ''
      ? { first: Math.max(0, size - Number(to)), last: size - 1 }
      : { first: Number(from), last: Math.min(to === '' ? size - 1 : Number(to), size - 1) };
  return range.first > range.last ? 'unsatisfiable' : range;
};

/**
 * Whether a chunk of `length` bytes may be added to an upload that has `received`: `Content-Range: <first>-<last>` must say
 * where the upload ends and how long the chunk is (OCI distribution-spec, "Pushing a blob in chunks"). Without the header
 * it is a stream, which goes to the end.
 */
export const chunkFits = (header: string | undefined, received: number, length?: number): boolean => {
  if (header === undefined) return true;
  const match = /^(?:bytes )?(\d+)-(\d+)(?:\/.*)?$/.exec(header);
  if (match === null || Number(match[1]) !== received) return false;
  return length === undefined || Number(match[2]) - Number(match[1]) + 1 === length;
};

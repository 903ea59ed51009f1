import type { BodyStream } from '../net/port.ts';

/** Bytes in pieces, one after the other. */
export type Pieces = readonly Uint8Array[];

export const sizeOf = (pieces: Pieces): number => pieces.reduce((sum, piece) => sum + piece.byteLength, 0);

/** From here on a copy costs more than to send each piece by itself. */
const minStreamBytes = 64 * 1024;

/** As the body of a request. What is long is not put together, but sent piece by piece. */
export const bodyOf = (pieces: Pieces): { readonly body: Uint8Array } | { readonly stream: BodyStream } => {
  const [only, second] = pieces;
  if (only !== undefined && second === undefined) return { body: only };
  const size = sizeOf(pieces);
  if (size < minStreamBytes) return { body: Buffer.concat(pieces) };
  return {
    stream: {
      size,
      open: async function* () {
        yield* pieces;
      },
    },
  };
};

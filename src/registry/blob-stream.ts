import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { type Context, openPart } from '../model/context.ts';
import type { Digest } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { uploadLost, uploadUrl } from './blobs.ts';
import { dataLoss, statusError } from './errors.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** What a manifest says of a blob. */
export type BlobDescriptor = { readonly mediaType: string; readonly digest: Digest; readonly size: number };

/** Blobs of any size, never held whole. Safe to call concurrently. */
export type BlobStreams = {
  /** Is it there? */
  has(target: Target, digest: Digest, context: Context): Promise<boolean>;
  /** The bytes; ends with `data_loss` before the last piece when they are not what the descriptor says. */
  read(target: Target, blob: BlobDescriptor, context: Context): AsyncIterable<Uint8Array>;
  /** Mounts a blob out of another repository of the same registry; false where the registry does not. */
  mount(target: Target, digest: Digest, from: string, context: Context): Promise<boolean>;
  /** Uploads what `open` reads, from the beginning for each attempt. */
  upload(target: Target, blob: BlobDescriptor, open: () => AsyncIterable<Uint8Array>, context: Context): Promise<void>;
};

const maxAnswerBytes = 64 * 1024;
const pieceBytes = 256 * 1024;

export const createBlobStreams = (transport: Transport): BlobStreams => {
  /** Repositories that a registry has not mounted from: not asked again. */
  const unmountable = new Set<string>();

  const open = async (target: Target, context: Context) => {
    const path = 'blobs/uploads/';
    const request = { method: 'POST', path, body: new Uint8Array(), maxBytes: maxAnswerBytes } as const;
    const opened = await transport.send(target, 'pull,push', request, context);
    if (opened.status !== 202) throw statusError(opened, target, 'start an upload');
    return uploadUrl(opened, target, transport.url(target, path));
  };

  return {
    has: (target, digest, context) =>
      transport.retried(target, context, async () => {
        const request = { method: 'HEAD', path: `blobs/${digest}`, maxBytes: 0, followRedirects: true } as const;
        const response = await transport.send(target, 'pull', request, context);
        if (response.status === 200) return true;
        if ([404, 405, 501].includes(response.status)) return false;
        throw statusError(response, target, `look for blob ${digest}`);
      }),

    read: (target, blob, context) =>
      checked(blob, received(transport, target, blob, context), (what) => dataLoss(target, what)),

    mount: async (target, digest, from, context) => {
      const pair = `${target.registry}/${target.repository} ${from}`;
      if (unmountable.has(pair)) return false;
      const path = `blobs/uploads/?mount=${encodeURIComponent(digest)}&from=${encodeURIComponent(from)}`;
      const request = { method: 'POST', path, body: new Uint8Array(), maxBytes: maxAnswerBytes } as const;
      try {
        const response = await transport.send(target, 'pull,push', request, context);
        if (response.status === 201) return true;
      } catch (error) {
        // The token is for one repository: a registry may want one for both, and what is not mounted is uploaded.
        if (!(error instanceof CountersignError && error.code === 'failed_precondition')) throw error;
      }
      unmountable.add(pair);
      return false;
    },

    upload: (target, blob, openBlob, context) =>
      transport.retried(target, context, async () => {
        const url = await open(target, context);
        url.searchParams.set('digest', blob.digest);
        const response = await transport.send(
          target,
          'pull,push',
          {
            url: url.href,
            method: 'PUT',
            headers: { 'content-type': 'application/octet-stream' },
            stream: { size: blob.size, open: openBlob },
            maxBytes: maxAnswerBytes,
          },
          context,
        );
        if (response.status === 404) throw uploadLost(target);
        if (response.status !== 201) throw statusError(response, target, `upload blob ${blob.digest}`);
      }),
  };
};

/** The body of a blob as it comes, no faster than it is taken. */
async function* received(
  transport: Transport,
  target: Target,
  blob: BlobDescriptor,
  context: Context,
): AsyncIterable<Uint8Array> {
  const part = openPart(context, context.requestId, 2 ** 31 - 1);
  const pipe = new PassThrough({ highWaterMark: pieceBytes });
  const request = {
    method: 'GET',
    path: `blobs/${blob.digest}`,
    maxBytes: Math.max(blob.size, maxAnswerBytes),
    followRedirects: true,
    onData: async (chunk: Uint8Array) => {
      if (!pipe.write(chunk)) await once(pipe, 'drain', { signal: part.context.signal });
    },
  } as const;
  const answered = transport.send(target, 'pull', request, part.context).then(
    (response) => {
      if (response.status === 200) pipe.end();
      else pipe.destroy(statusError(response, target, `read blob ${blob.digest}`));
    },
    (error) => void pipe.destroy(error instanceof Error ? error : new Error(String(error))),
  );
  try {
    yield* pipe;
  } finally {
    part.cancel();
    part.dispose();
    await answered;
  }
}

/** Passes bytes on while they agree with the descriptor; the last piece only when all of them do. */
export async function* checked(
  { digest, size }: Pick<BlobDescriptor, 'digest' | 'size'>,
  pieces: AsyncIterable<Uint8Array>,
  fault: (what: string) => Error,
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256');
  let read = 0;
  let held: Uint8Array | undefined;
  for await (const piece of pieces) {
    read += piece.byteLength;
    if (read > size) break;
    hash.update(piece);
    if (held !== undefined) yield held;
    held = piece;
  }
  if (read !== size)
    throw fault(`blob ${digest} has ${read > size ? 'more' : 'fewer'} bytes than the ${size} announced`);
  if (`sha256:${hash.digest('hex')}` !== digest) throw fault(`what came for blob ${digest} is something else`);
  if (held !== undefined) yield held;
}

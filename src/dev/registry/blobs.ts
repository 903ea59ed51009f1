import { isContentDigest } from './digest.ts';
import type { Exchange } from './exchange.ts';
import { readRange } from './range.ts';
import type { Store } from './store.ts';

/** `/v2/<name>/blobs/<digest>`: HEAD, GET (with Range) and DELETE. */
export const serveBlob = (exchange: Exchange, store: Store, name: string, digest: string): void => {
  if (!isContentDigest(digest)) {
    exchange.refuse(400, 'DIGEST_INVALID', 'a blob is called by its sha256 or sha512 digest');
    return;
  }
  const repository = store.find(name);
  const blob = repository?.blobs.get(digest);
  if (repository === undefined || blob === undefined) {
    exchange.refuse(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    return;
  }
  const headers = {
    'content-type': 'application/octet-stream',
    'docker-content-digest': digest,
    'accept-ranges': 'bytes',
    etag: `"${digest}"`,
  };
  switch (exchange.method) {
    case 'DELETE':
      repository.blobs.delete(digest);
      exchange.answer(202);
      return;
    case 'HEAD':
      exchange.answer(200, { ...headers, 'content-length': String(blob.byteLength) });
      return;
    case 'GET': {
      const range = readRange(exchange.request.headers.range, blob.byteLength);
      if (range === 'whole') {
        exchange.answer(200, headers, blob);
        return;
      }
      if (range === 'unsatisfiable') {
        exchange.refuse(416, 'SIZE_INVALID', 'the range lies outside the blob', {
          'content-range': `bytes */${blob.byteLength}`,
        });
        return;
      }
      exchange.answer(
        206,
        { ...headers, 'content-range': `bytes ${range.first}-${range.last}/${blob.byteLength}` },
        blob.subarray(range.first, range.last + 1),
      );
      return;
    }
    default:
      exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
  }
};

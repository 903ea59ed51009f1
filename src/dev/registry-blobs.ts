import { randomUUID } from 'node:crypto';
import { isDigest, sha256 } from '../model/digest.ts';
import type { Exchange } from './registry-exchange.ts';
import type { Repository, Store } from './registry-store.ts';

const maxBlobBytes = 512 * 1024 * 1024;

/** `/v2/<name>/blobs/<digest>`: HEAD, GET (with Range) and DELETE. */
export const serveBlob = (exchange: Exchange, store: Store, name: string, digest: string): void => {
  const repository = store.find(name);
  const blob = repository?.blobs.get(digest);
  if (repository === undefined || blob === undefined) {
    exchange.refuse(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    return;
  }
  const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': digest, etag: `"${digest}"` };
  switch (exchange.method) {
    case 'DELETE':
      repository.blobs.delete(digest);
      exchange.answer(202);
      return;
    case 'HEAD':
      exchange.answer(200, { ...headers, 'accept-ranges': 'bytes', 'content-length': String(blob.byteLength) });
      return;
    case 'GET': {
      const range = /^bytes=(\d+)-(\d*)$/.exec(exchange.request.headers.range ?? '');
      if (range === null) {
        exchange.answer(200, headers, blob);
        return;
      }
      const start = Number(range[1]);
      const end = Math.min(range[2] ? Number(range[2]) : blob.byteLength - 1, blob.byteLength - 1);
      if (start > end) {
        exchange.answer(416, { 'content-range': `bytes */${blob.byteLength}` });
        return;
      }
      exchange.answer(
        206,
        { ...headers, 'content-range': `bytes ${start}-${end}/${blob.byteLength}` },
        blob.subarray(start, end + 1),
      );
      return;
    }
    default:
      exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
  }
};

/** `/v2/<name>/blobs/uploads/[<session>]`: POST (session, whole, mount), PATCH, PUT, GET and DELETE. */
export const serveUpload = async (
  exchange: Exchange,
  store: Store,
  name: string,
  session: string,
  wholeUpload: boolean,
): Promise<void> => {
  const repository = store.open(name);
  if (exchange.method === 'POST' && session === '') return startUpload(exchange, store, repository, name, wholeUpload);
  const chunks = repository.uploads.get(session);
  if (chunks === undefined) {
    exchange.refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    return;
  }
  const received = (): number => chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const progress = (): Record<string, string> => ({
    location: `/v2/${name}/blobs/uploads/${session}`,
    range: `0-${Math.max(0, received() - 1)}`,
    'docker-upload-uuid': session,
  });
  switch (exchange.method) {
    case 'PATCH': {
      if (!startsAt(exchange, received())) {
        exchange.answer(416, progress());
        return;
      }
      chunks.push(await exchange.body(maxBlobBytes - received()));
      exchange.answer(202, progress());
      return;
    }
    case 'PUT': {
      if (!startsAt(exchange, received())) {
        exchange.answer(416, progress());
        return;
      }
      const last = await exchange.body(maxBlobBytes - received());
      if (storeBlob(exchange, repository, name, Buffer.concat([...chunks, last]))) repository.uploads.delete(session);
      return;
    }
    case 'GET':
      exchange.answer(204, progress());
      return;
    case 'DELETE':
      repository.uploads.delete(session);
      exchange.answer(204);
      return;
    default:
      exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
  }
};

const startUpload = async (
  exchange: Exchange,
  store: Store,
  repository: Repository,
  name: string,
  wholeUpload: boolean,
): Promise<void> => {
  const mount = exchange.url.searchParams.get('mount');
  const from = exchange.url.searchParams.get('from');
  const mounted = mount === null || from === null ? undefined : store.find(from)?.blobs.get(mount);
  if (mount !== null && mounted !== undefined) {
    repository.blobs.set(mount, mounted);
    exchange.answer(201, { location: `/v2/${name}/blobs/${mount}`, 'docker-content-digest': mount });
    return;
  }
  const content = await exchange.body(maxBlobBytes);
  if (wholeUpload && exchange.url.searchParams.has('digest')) {
    storeBlob(exchange, repository, name, content);
    return;
  }
  const session = randomUUID();
  repository.uploads.set(session, []);
  exchange.answer(202, {
    location: `/v2/${name}/blobs/uploads/${session}`,
    range: '0-0',
    'docker-upload-uuid': session,
  });
};

const storeBlob = (exchange: Exchange, repository: Repository, name: string, content: Buffer): boolean => {
  const digest = exchange.url.searchParams.get('digest') ?? '';
  if (!isDigest(digest) || sha256(content) !== digest) {
    exchange.refuse(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    return false;
  }
  repository.blobs.set(digest, content);
  exchange.answer(201, { location: `/v2/${name}/blobs/${digest}`, 'docker-content-digest': digest });
  return true;
};

/** A chunk that says where it belongs must belong at the end of what is there. */
const startsAt = (exchange: Exchange, offset: number): boolean => {
  const range = exchange.request.headers['content-range'];
  if (range === undefined) return true;
  const match = /^(?:bytes )?(\d+)-\d+(?:\/.*)?$/.exec(range);
  return match !== null && Number(match[1]) === offset;
};

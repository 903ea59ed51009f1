import { randomUUID } from 'node:crypto';
import { isDigestOf } from './digest.ts';
import type { Exchange } from './exchange.ts';
import { chunkFits } from './range.ts';
import type { Repository, Store } from './store.ts';

const maxBlobBytes = 512 * 1024 * 1024;

export type UploadBehaviour = {
  /** Take a blob in the one request `POST blobs/uploads/?digest=`. */
  readonly wholeUpload: boolean;
  /** Announced as `OCI-Chunk-Min-Length`; only the last chunk may be shorter. 0: nothing is announced. */
  readonly chunkMinBytes: number;
};

/** `/v2/<name>/blobs/uploads/[<session>]`: POST (session, whole, mount), PATCH, PUT, GET and DELETE. */
export const serveUpload = async (
  exchange: Exchange,
  store: Store,
  name: string,
  session: string,
  behaviour: UploadBehaviour,
): Promise<void> => {
  if (exchange.method === 'POST' && session === '') return startUpload(exchange, store, name, behaviour);
  const repository = store.find(name);
  const chunks = repository?.uploads.get(session);
  if (repository === undefined || chunks === undefined) {
    exchange.refuse(404, 'BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
    return;
  }
  switch (exchange.method) {
    case 'PATCH': {
      const chunk = await nextChunk(exchange, name, session, chunks, behaviour);
      if (chunk === undefined) return;
      chunks.push(chunk);
      exchange.answer(202, progress(name, session, chunks));
      return;
    }
    case 'PUT': {
      const last = await nextChunk(exchange, name, session, chunks, behaviour);
      if (last === undefined) return;
      if (storeBlob(exchange, repository, name, Buffer.concat([...chunks, last]))) repository.uploads.delete(session);
      return;
    }
    case 'GET':
      exchange.answer(204, progress(name, session, chunks));
      return;
    case 'DELETE':
      repository.uploads.delete(session);
      exchange.answer(204);
      return;
    default:
      exchange.refuse(405, 'UNSUPPORTED', 'the operation is unsupported');
  }
};

/** The body, when it may follow what is there; else answers 416 with where the upload stands. */
const nextChunk = async (
  exchange: Exchange,
  name: string,
  session: string,
  chunks: readonly Buffer[],
  { chunkMinBytes }: UploadBehaviour,
): Promise<Buffer | undefined> => {
  const header = exchange.request.headers['content-range'];
  const fits = (length?: number): boolean => chunkFits(header, bytesOf(chunks), length);
  const refuse = (): undefined => {
    exchange.refuse(
      416,
      'BLOB_UPLOAD_INVALID',
      'the chunk does not follow what was received',
      progress(name, session, chunks),
    );
  };
  if (!fits()) return refuse();
  const chunk = await exchange.body(maxBlobBytes - bytesOf(chunks));
  const shortBefore = chunks.some((one) => one.byteLength < chunkMinBytes);
  return fits(chunk.byteLength) && !(shortBefore && chunk.byteLength > 0) ? chunk : refuse();
};

const bytesOf = (chunks: readonly Buffer[]): number => chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);

const progress = (name: string, session: string, chunks: readonly Buffer[]): Record<string, string> => ({
  location: `/v2/${name}/blobs/uploads/${session}`,
  range: `0-${Math.max(0, bytesOf(chunks) - 1)}`,
  'docker-upload-uuid': session,
});

const startUpload = async (
  exchange: Exchange,
  store: Store,
  name: string,
  { wholeUpload, chunkMinBytes }: UploadBehaviour,
): Promise<void> => {
  const repository = store.open(name);
  const { searchParams } = exchange.url;
  const mount = searchParams.get('mount');
  const from = searchParams.get('from');
  const mounted = mount === null ? undefined : from === null ? store.blob(mount) : store.find(from)?.blobs.get(mount);
  if (mount !== null && mounted !== undefined) {
    repository.blobs.set(mount, mounted);
    exchange.answer(201, { location: `/v2/${name}/blobs/${mount}`, 'docker-content-digest': mount });
    return;
  }
  const content = await exchange.body(maxBlobBytes);
  if (wholeUpload && searchParams.has('digest')) {
    storeBlob(exchange, repository, name, content);
    return;
  }
  const session = randomUUID();
  repository.uploads.set(session, []);
  exchange.answer(202, {
    ...progress(name, session, []),
    ...(chunkMinBytes > 0 ? { 'oci-chunk-min-length': String(chunkMinBytes) } : {}),
  });
};

const storeBlob = (exchange: Exchange, repository: Repository, name: string, content: Buffer): boolean => {
  const digest = exchange.url.searchParams.get('digest') ?? '';
  if (!isDigestOf(digest, content)) {
    exchange.refuse(400, 'DIGEST_INVALID', 'provided digest did not match uploaded content');
    return false;
  }
  repository.blobs.set(digest, content);
  exchange.answer(201, { location: `/v2/${name}/blobs/${digest}`, 'docker-content-digest': digest });
  return true;
};

import { assertLive, type Context } from '../model/context.ts';
import { type Digest, sha256 } from '../model/digest.ts';
import { CountersignError } from '../model/error.ts';
import { repositoryName } from '../model/subject.ts';
import type { HttpResponse } from '../net/port.ts';
import { createCache } from './cache.ts';
import { dataLoss, malformed, statusError, unusable } from './errors.ts';
import { bodyOf, type Pieces, sizeOf } from './pieces.ts';
import { createSingleFlight } from './single-flight.ts';
import type { Target } from './target.ts';
import type { Transport } from './transport.ts';

/** A blob and its digest, so that it is not taken again of what is long. */
export type Content = { readonly digest: Digest; readonly pieces: Pieces };

/** Blobs of repositories (distribution-spec "Pulling blobs", "Pushing blobs"). Safe to call concurrently. */
export type Blobs = {
  /** The blob's bytes, `size` of them, checked against the digest. `not_found` when it is not there. */
  get(target: Target, blob: { readonly digest: Digest; readonly size: number }, context: Context): Promise<Uint8Array>;
  /** Uploads; a blob that is already there is no error. */
  put(target: Target, content: Uint8Array, context: Context): Promise<void>;
  /**
   * Uploads unless this process knows that the blob is there; requests at the same time share one upload. The content is not
   * remembered: for what manifests need, and nobody reads.
   */
  ensure(target: Target, content: Content, context: Context): Promise<void>;
  /** The repository lacks blobs that were there: `ensure` uploads anew. */
  forget(target: Target): void;
};

/** Most bytes of one signature, attestation or bundle. */
export const maxBlobBytes = 16 * 1024 * 1024;
const maxAnswerBytes = 64 * 1024;
const cacheBytes = 64 * 1024 * 1024;
/** A body that is worth sending to a registry that may not take it in one request. */
const maxProbeBytes = 64 * 1024;
const knownForMs = 10 * 60_000;
/** How long several requests wait for one upload: after that each makes its own, so that one that hangs holds up nobody else. */
const sharedMs = 2_000;

/** What was read, and what is known to be there, is remembered: 64 MiB of content, ten minutes of presence. */
export const createBlobs = (transport: Transport): Blobs => {
  const contents = createCache<Uint8Array>(cacheBytes, (content) => content.byteLength + 200);
  const known = createCache<true>(10_000);
  /** How often the blobs of a repository were found to be gone: what was known before does not count. */
  const losses = createCache<number>(10_000);
  const uploads = createSingleFlight<void>(sharedMs);
  /** Does the registry store the body of `POST blobs/uploads/?digest=`? Learnt from its first answer. */
  const singleRequest = createCache<boolean>(1_000);
  const key = (target: Target, digest: Digest): string => `${target.registry}/${target.repository}@${digest}`;

  const get: Blobs['get'] = async (target, blob, context) => {
    const cached = contents.get(key(target, blob.digest));
    if (cached !== undefined) return sized(cached, blob, target);
    if (blob.size > maxBlobBytes) {
      throw unusable(target, 'BLOB_TOO_LARGE', `${blob.digest} has ${blob.size} bytes; the most is ${maxBlobBytes}`);
    }
    const content = await transport.retried(target, context, async () => {
      const path = `blobs/${blob.digest}`;
      const request = {
        method: 'GET',
        path,
        maxBytes: Math.max(blob.size, maxAnswerBytes),
        followRedirects: true,
      } as const;
      const response = await transport.send(target, 'pull', request, context);
      if (response.status !== 200) throw statusError(response, target, `read blob ${blob.digest}`);
      if (sha256(response.body) !== blob.digest)
        throw dataLoss(target, `what came for blob ${blob.digest} is something else`);
      return response.body;
    });
    contents.set(key(target, blob.digest), content);
    return sized(content, blob, target);
  };

  /** One request, where the registry can; false when it cannot (202: it opened an upload session instead). */
  const putAtOnce = async (target: Target, digest: Digest, content: Pieces, context: Context) => {
    const learnt = singleRequest.get(target.registry);
    if (learnt === false || (learnt === undefined && sizeOf(content) > maxProbeBytes)) return undefined;
    const path = `blobs/uploads/?digest=${encodeURIComponent(digest)}`;
    try {
      const response = await sendContent(transport, target, 'POST', { path }, content, context);
      if (response.status === 201) {
        singleRequest.set(target.registry, true);
        return response;
      }
      if (response.status === 202 || isRefusal(response.status)) singleRequest.set(target.registry, false, knownForMs);
      return response.status === 202 || isRefusal(response.status) ? undefined : response;
    } catch (error) {
      // A registry that does not read the body may close the connection on it.
      if (learnt === undefined && error instanceof CountersignError && error.reason === 'CONNECTION_RESET')
        return undefined;
      throw error;
    }
  };

  const putInTwo = async (target: Target, digest: Digest, content: Pieces, context: Context) => {
    const start = { method: 'POST', path: 'blobs/uploads/', maxBytes: maxAnswerBytes } as const;
    const opened = await transport.send(target, 'pull,push', { ...start, body: new Uint8Array() }, context);
    if (opened.status !== 202) throw statusError(opened, target, `start an upload`);
    const url = uploadUrl(opened, target, transport.url(target, 'blobs/uploads/'));
    url.searchParams.set('digest', digest);
    return sendContent(transport, target, 'PUT', { url: url.href }, content, context);
  };

  const upload = (target: Target, { digest, pieces }: Content, context: Context): Promise<void> =>
    transport.retried(target, context, async () => {
      const response =
        (await putAtOnce(target, digest, pieces, context)) ?? (await putInTwo(target, digest, pieces, context));
      // 416: the session holds something that it should not.
      if (response.status === 404 || response.status === 416) throw uploadLost(target);
      if (response.status !== 201) throw statusError(response, target, `upload blob ${digest}`);
      const stored = response.headers['docker-content-digest'];
      if (stored !== undefined && stored !== digest)
        throw dataLoss(target, `blob ${digest} was stored as something else`);
    });

  const put: Blobs['put'] = async (target, content, context) => {
    const digest = sha256(content);
    await upload(target, { digest, pieces: [content] }, context);
    contents.set(key(target, digest), content);
  };

  const ensure: Blobs['ensure'] = async (target, content, context) => {
    const name = `${losses.get(repositoryName(target)) ?? 0} ${key(target, content.digest)}`;
    if (known.get(name)) return;
    try {
      await uploads(name, context, (shared) => upload(target, content, shared));
    } catch (error) {
      if (!(error instanceof CountersignError && error.code === 'deadline_exceeded')) throw error;
      assertLive(context);
      await upload(target, content, context);
    }
    known.set(name, true, knownForMs);
  };

  const forget: Blobs['forget'] = (target) => {
    const name = repositoryName(target);
    losses.set(name, (losses.get(name) ?? 0) + 1);
  };

  return { get, put, ensure, forget };
};

/** A size that is not true would also be a way around the bound on all signatures together. */
const sized = (
  content: Uint8Array,
  blob: { readonly digest: Digest; readonly size: number },
  target: Target,
): Uint8Array => {
  if (content.byteLength === blob.size) return content;
  throw dataLoss(
    target,
    `blob ${blob.digest} has ${content.byteLength} bytes and not the ${blob.size} that its manifest says`,
  );
};

const sendContent = (
  transport: Transport,
  target: Target,
  method: 'POST' | 'PUT',
  where: { readonly path: string } | { readonly url: string },
  content: Pieces,
  context: Context,
): Promise<HttpResponse> =>
  transport.send(
    target,
    'pull,push',
    {
      ...where,
      method,
      ...bodyOf(content),
      headers: { 'content-type': 'application/octet-stream' },
      maxBytes: maxAnswerBytes,
    },
    context,
  );

/** Sessions end when a registry restarts or cleans up: the upload is begun again. */
export const uploadLost = (target: Target): CountersignError =>
  new CountersignError(
    'unavailable',
    'UPLOAD_LOST',
    `Registry ${target.registry} lost an upload to ${target.repository} half-way; try again.`,
    { retryAfterMs: 100, metadata: { registry: target.registry, repository: target.repository } },
  );

/** Statuses by which a registry may say that it does not know the one-request upload. */
const isRefusal = (status: number): boolean => [400, 404, 405, 411, 413, 415, 416, 501].includes(status);

/**
 * The `Location` of an upload session. It gets the content and the credentials, so it must be at the registry itself; one
 * that says http for our https (a proxy that forgot to say so) is asked over https.
 */
export const uploadUrl = (response: HttpResponse, target: Target, base: URL): URL => {
  const location = response.headers.location;
  const url = location === undefined ? null : URL.parse(location, base.href);
  if (url === null) throw malformed(target, 'an upload was started without a usable Location');
  if (
    base.protocol === 'https:' &&
    url.protocol === 'http:' &&
    url.hostname === base.hostname &&
    url.port === base.port
  ) {
    url.protocol = 'https:';
  }
  if (url.origin !== base.origin) {
    throw unusable(
      target,
      'EGRESS_DENIED',
      `the registry wants the upload sent to another host (${url.host}); not done`,
    );
  }
  return url;
};

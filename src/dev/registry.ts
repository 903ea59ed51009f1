import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGate, type RegistryAuth } from './registry/auth.ts';
import { serveBlob } from './registry/blobs.ts';
import { BodyTooLarge, createExchange, type Exchange } from './registry/exchange.ts';
import { serveReferrers, serveTags } from './registry/lists.ts';
import { type EntityTags, serveManifest } from './registry/manifests.ts';
import { createStore } from './registry/store.ts';
import { serveUpload } from './registry/uploads.ts';

export type DevRegistryOptions = {
  /** Serve the referrers API (OCI distribution-spec 1.1). Default: true. */
  readonly referrers?: boolean;
  /**
   * Send `ETag` for manifests and honour `If-Match` and `If-None-Match`; `reads`: honour conditions of GET and HEAD alone, as
   * distribution does; `ignored`: send it, and look at no condition. Default: true.
   */
  readonly etag?: EntityTags;
  /** Asked twice a request: milliseconds before anything is done, and between that and the answer. Default: none. */
  readonly delayMs?: () => number;
  /** Take a blob in the one request `POST blobs/uploads/?digest=`; otherwise it opens a session. Default: true. */
  readonly wholeUpload?: boolean;
  /** Announce `OCI-Chunk-Min-Length`, bytes, and refuse what follows a shorter chunk. Default: none. */
  readonly chunkMinBytes?: number;
  readonly auth?: RegistryAuth;
  /** Default: one that the system chooses. */
  readonly port?: number;
};

/** One answered request: `kind` is `ping`, `token`, `blob`, `upload`, `manifest`, `referrers`, `tags` or `other`. */
export type SeenRequest = { readonly method: string; readonly kind: string };

export type DevRegistry = {
  /** `127.0.0.1:port` */
  readonly host: string;
  readonly port: number;
  /** Every request so far, in order; tests may empty it. */
  readonly requests: SeenRequest[];
  close(): Promise<void>;
};

/**
 * An OCI registry in memory on loopback, plain http: the distribution specification 1.1, as far as its conformance tests
 * reach. Nothing is kept after `close`, nothing is ever collected.
 */
export const startRegistry = async (options: DevRegistryOptions = {}): Promise<DevRegistry> => {
  const { listener, requests } = registryListener(options);
  const server = createServer(listener);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    port,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

/** The registry as a request listener, for a server of the caller's own. */
export const registryListener = (
  options: DevRegistryOptions,
): { readonly listener: RequestListener; readonly requests: SeenRequest[] } => {
  const store = createStore();
  const gate = createGate(options.auth);
  const behaviour = { referrers: options.referrers ?? true, etag: options.etag ?? true };
  const uploads = { wholeUpload: options.wholeUpload ?? true, chunkMinBytes: options.chunkMinBytes ?? 0 };
  const requests: SeenRequest[] = [];

  const serve = async (exchange: Exchange): Promise<void> => {
    const { method, url } = exchange;
    const route = routeOf(url.pathname);
    requests.push({ method, kind: route.kind });
    if (options.delayMs !== undefined) await sleep(options.delayMs());
    if (route.kind === 'token') return gate.serveToken(exchange);
    const push = method !== 'GET' && method !== 'HEAD';
    if (!gate.admits(exchange, exchange.request.headers.host ?? '', route.name, push)) return;
    switch (route.kind) {
      case 'ping':
        return exchange.answer(200, { 'content-type': 'application/json' }, '{}');
      case 'upload':
        return serveUpload(exchange, store, route.name, route.last, uploads);
      case 'blob':
        return serveBlob(exchange, store, route.name, route.last);
      case 'manifest':
        return serveManifest(exchange, store, route.name, route.last, behaviour);
      case 'referrers':
        if (behaviour.referrers) return serveReferrers(exchange, store, route.name, route.last);
        return exchange.answer(404, { 'content-type': 'text/plain' }, '404 page not found\n');
      case 'tags':
        return serveTags(exchange, store, route.name);
      default:
        return exchange.refuse(404, 'NOT_FOUND', 'no such page');
    }
  };

  const listener: RequestListener = (request, response) => {
    const exchange = createExchange(request, delayed(response, options.delayMs));
    serve(exchange).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else if (error instanceof BodyTooLarge)
        exchange.refuse(413, 'SIZE_INVALID', 'the body is too large', { connection: 'close' });
      else exchange.refuse(500, 'UNKNOWN', 'the registry failed');
    });
  };
  return { listener, requests };
};

/** What the response is ended with reaches the client later. */
const delayed = (response: ServerResponse, delayMs: (() => number) | undefined): ServerResponse => {
  if (delayMs === undefined) return response;
  const end = response.end.bind(response) as (chunk?: unknown) => ServerResponse;
  response.end = ((chunk?: unknown) => {
    setTimeout(() => end(chunk), delayMs());
    return response;
  }) as typeof response.end;
  return response;
};

type Route = { readonly kind: string; readonly name: string; readonly last: string };

const namePattern = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

const routeOf = (path: string): Route => {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping', name: '', last: '' };
  if (path === '/token') return { kind: 'token', name: '', last: '' };
  const [, name = '', kind = '', last = ''] =
    /^\/v2\/(.+?)\/(blobs\/uploads|blobs|manifests|referrers|tags)\/([^/]*)$/.exec(path) ?? [];
  const kinds: Readonly<Record<string, string>> = {
    'blobs/uploads': 'upload',
    blobs: 'blob',
    manifests: 'manifest',
    referrers: 'referrers',
    tags: 'tags',
  };
  const known = kinds[kind];
  if (known === undefined || !namePattern.test(name)) return { kind: 'other', name: '', last: '' };
  // Of what stands in tags and digests only the colon may come escaped.
  return { kind: known, name, last: last.replace(/%3a/i, ':') };
};

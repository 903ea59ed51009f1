import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type DevRegistryOptions, registryListener, type SeenRequest } from '../../src/dev/registry.ts';
import type { Pair } from '../certificates.ts';

type Changed = Readonly<Record<string, string | undefined>>;
/** A list: the header comes several times. */
type Answered = Readonly<Record<string, string | string[]>>;

/** What happens to a request instead of, or with, the registry's answer. */
export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Answered | ((request: IncomingMessage) => Answered);
      readonly body?: string | Uint8Array;
    }
  /** The connection is reset before anything is answered. */
  | { readonly kind: 'reset' }
  /** The registry does what was asked, and then the connection is reset instead of an answer. */
  | { readonly kind: 'reset-after' }
  /** The registry's own answer, so many milliseconds late. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Taken at once and done so many milliseconds later, whether anybody waits for the answer by then or not. */
  | { readonly kind: 'late'; readonly ms: number }
  /** Nothing is ever answered. */
  | { readonly kind: 'hang' }
  /** Headers and half of a body, then nothing. */
  | { readonly kind: 'stall' }
  /** Headers, and then a byte of body now and then, for good. */
  | { readonly kind: 'drip' }
  /** The registry's own answer with other headers (undefined: without that header). */
  | { readonly kind: 'headers'; readonly headers: Changed | ((own: Readonly<Record<string, string>>) => Changed) }
  /** The registry's own answer with another body. */
  | { readonly kind: 'body'; readonly body: string }
  /** The registry does what was asked, and then another status is answered. */
  | { readonly kind: 'status-after'; readonly status: number }
  /** The registry does what was asked, and then nothing is ever answered. */
  | { readonly kind: 'hang-after' }
  /** The registry's own answer to the request for another path, chosen anew each time. */
  | { readonly kind: 'instead'; readonly url: () => string }
  /** A body of this many bytes, without a length. Default status: 200. */
  | { readonly kind: 'flood'; readonly bytes: number; readonly status?: number };

/** `kind` as `SeenRequest.kind`; `times`: how many requests it befalls (default: all); `skip`: how many it lets through first. */
export type Rule = {
  readonly method?: string;
  readonly path: RegExp;
  /** Default: any request of that method and path. */
  readonly when?: (request: IncomingMessage) => boolean;
  readonly fault: Fault;
  readonly times?: number;
  readonly skip?: number;
};

export type FaultRegistry = {
  /** Plain http. */
  readonly host: string;
  readonly port: number;
  /** The same registry over TLS; the empty string without a certificate. */
  readonly tlsHost: string;
  readonly requests: SeenRequest[];
  /** Headers of every request, faulted ones included. */
  readonly seen: { readonly method: string; readonly url: string; readonly authorization: string | undefined }[];
  /** Manifests that the registry has stored, whatever it answered then; `path` is that of their digest. */
  readonly stored: { readonly repository: string; readonly digest: string; readonly path: string }[];
  /** The registry without its faults, for other servers. */
  readonly honest: RequestListener;
  /** Replaces all rules; the first that fits a request applies. */
  script(...rules: Rule[]): void;
  close(): Promise<void>;
};

/** The embedded registry with faults on order, for tests of what its clients do then. */
export const startFaultRegistry = async (
  options: DevRegistryOptions = {},
  certificate?: Pair,
): Promise<FaultRegistry> => {
  const { listener: honest, requests } = registryListener(options);
  const stored: FaultRegistry['stored'] = [];
  const listener: RequestListener = (request, response) => {
    const [, repository = ''] = /^\/v2\/(.+)\/manifests\//.exec(request.url ?? '') ?? [];
    if (request.method === 'PUT' && repository !== '') {
      const writeHead = response.writeHead.bind(response);
      response.writeHead = ((status: number, headers: Record<string, string>) => {
        const digest = headers['docker-content-digest'];
        if (status === 201 && digest !== undefined && !stored.some((one) => one.digest === digest)) {
          stored.push({ repository, digest, path: `/v2/${repository}/manifests/${digest}` });
        }
        return writeHead(status, headers);
      }) as typeof response.writeHead;
    }
    honest(request, response);
  };
  let rules: (Rule & { used: number })[] = [];
  const seen: FaultRegistry['seen'][number][] = [];

  const faultFor = (request: IncomingMessage): Fault | undefined => {
    const rule = rules.find(
      ({ method, path, when, used, times, skip }) =>
        (method === undefined || method === request.method) &&
        path.test(request.url ?? '') &&
        when?.(request) !== false &&
        used < (skip ?? 0) + (times ?? Number.POSITIVE_INFINITY),
    );
    if (rule === undefined) return undefined;
    rule.used++;
    return rule.used > (rule.skip ?? 0) ? rule.fault : undefined;
  };

  const answer: RequestListener = (request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', authorization: request.headers.authorization });
    const fault = faultFor(request);
    if (fault === undefined) {
      listener(request, response);
      return;
    }
    apply(fault, request, response, () => listener(request, response));
  };
  const server = createServer(answer);
  const servers: Server[] = [server];
  if (certificate !== undefined) servers.push(createTlsServer(certificate, answer));
  const [port = 0, tlsPort] = await Promise.all(servers.map(listen));
  return {
    host: `127.0.0.1:${port}`,
    port,
    tlsHost: tlsPort === undefined ? '' : `127.0.0.1:${tlsPort}`,
    requests,
    seen,
    stored,
    honest: listener,
    script: (...next) => {
      rules = next.map((rule) => ({ ...rule, used: 0 }));
    },
    close: async () => {
      await Promise.all(
        servers.map(
          (each) =>
            new Promise<void>((resolve) => {
              each.close(() => resolve());
              each.closeAllConnections();
            }),
        ),
      );
    },
  };
};

const listen = async (server: Server): Promise<number> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

const apply = (fault: Fault, request: IncomingMessage, response: ServerResponse, forward: () => void): void => {
  switch (fault.kind) {
    case 'answer':
      request.resume();
      response.writeHead(fault.status, typeof fault.headers === 'function' ? fault.headers(request) : fault.headers);
      response.end(request.method === 'HEAD' ? undefined : (fault.body ?? ''));
      return;
    case 'reset':
      request.socket.resetAndDestroy();
      return;
    case 'reset-after':
      respondWith(response, () => request.socket.resetAndDestroy());
      forward();
      return;
    case 'status-after':
      respondWith(response, () => {
        response.writeHead(fault.status, {});
        response.end();
      });
      forward();
      return;
    case 'hang-after':
      respondWith(response, () => undefined);
      forward();
      return;
    case 'instead':
      request.url = fault.url();
      forward();
      return;
    case 'delay':
      setTimeout(forward, fault.ms);
      return;
    case 'late':
      void doLate(request, response, fault.ms);
      return;
    case 'hang':
      request.resume();
      return;
    case 'stall':
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"half":');
      return;
    case 'drip': {
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => response.write(' '), 50);
      response.on('close', () => clearInterval(timer));
      return;
    }
    case 'flood':
      flood(response, fault.bytes, fault.status);
      return;
    case 'headers':
    case 'body':
      change(fault, response);
      forward();
  }
};

/** What the registry answers is thrown away; `end` answers instead. */
const respondWith = (response: ServerResponse, end: () => void): void => {
  const { writeHead, end: reallyEnd } = response;
  response.writeHead = (() => response) as typeof response.writeHead;
  response.end = (() => {
    Object.assign(response, { writeHead, end: reallyEnd });
    end();
    return response;
  }) as typeof response.end;
};

const change = (fault: Fault & { kind: 'headers' | 'body' }, response: ServerResponse): void => {
  const writeHead = response.writeHead.bind(response);
  const end = response.end.bind(response);
  response.writeHead = ((status: number, headers: Record<string, string>) => {
    const own = fault.kind === 'headers' ? fault.headers : {};
    const changed: Record<string, string | undefined> = {
      ...headers,
      ...(typeof own === 'function' ? own(headers) : own),
    };
    if (fault.kind === 'body') changed['content-length'] = String(Buffer.byteLength(fault.body));
    return writeHead(status, Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined)));
  }) as typeof response.writeHead;
  if (fault.kind === 'body') response.end = (() => end(fault.body)) as typeof response.end;
};

const doLate = async (request: IncomingMessage, response: ServerResponse, ms: number): Promise<void> => {
  const url = `http://127.0.0.1:${request.socket.localPort}${request.url}`;
  const body = Buffer.concat(await request.toArray());
  await new Promise((done) => setTimeout(done, ms));
  const headers = { 'content-type': request.headers['content-type'] ?? '' };
  const answer = await fetch(url, { method: request.method ?? 'PUT', headers, body });
  response.writeHead(answer.status, Object.fromEntries(answer.headers));
  response.end(Buffer.from(await answer.arrayBuffer()));
};

const flood = (response: ServerResponse, bytes: number, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' });
  const chunk = Buffer.alloc(65_536, 0x20);
  let left = bytes;
  const more = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= chunk.byteLength;
      if (!response.write(chunk)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
};

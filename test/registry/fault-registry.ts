import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type DevRegistryOptions, registryListener, type SeenRequest } from '../../src/dev/registry.ts';

/** What happens to a request instead of, or with, the registry's answer. */
export type Fault =
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Uint8Array;
    }
  /** The connection is reset before anything is answered. */
  | { readonly kind: 'reset' }
  /** The registry does what was asked, and then the connection is reset instead of an answer. */
  | { readonly kind: 'reset-after' }
  /** The registry's own answer, so many milliseconds late. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** Nothing is ever answered. */
  | { readonly kind: 'hang' }
  /** Headers and half of a body, then nothing. */
  | { readonly kind: 'stall' }
  /** The registry's own answer with other headers (undefined: without that header). */
  | { readonly kind: 'headers'; readonly headers: Readonly<Record<string, string | undefined>> }
  /** The registry's own answer with another body. */
  | { readonly kind: 'body'; readonly body: string }
  /** A body of this many bytes, without a length. */
  | { readonly kind: 'flood'; readonly bytes: number };

/** `kind` as `SeenRequest.kind`; `times`: how many requests it befalls (default: all); `skip`: how many it lets through first. */
export type Rule = {
  readonly method?: string;
  readonly path: RegExp;
  readonly fault: Fault;
  readonly times?: number;
  readonly skip?: number;
};

export type FaultRegistry = {
  readonly host: string;
  readonly port: number;
  readonly requests: SeenRequest[];
  /** Headers of every request, faulted ones included. */
  readonly seen: { readonly method: string; readonly url: string; readonly authorization: string | undefined }[];
  /** Replaces all rules; the first that fits a request applies. */
  script(...rules: Rule[]): void;
  close(): Promise<void>;
};

/** The embedded registry with faults on order, for tests of what its clients do then. */
export const startFaultRegistry = async (options: DevRegistryOptions = {}): Promise<FaultRegistry> => {
  const { listener, requests } = registryListener(options);
  let rules: (Rule & { used: number })[] = [];
  const seen: FaultRegistry['seen'][number][] = [];

  const faultFor = (request: IncomingMessage): Fault | undefined => {
    const rule = rules.find(
      ({ method, path, used, times, skip }) =>
        (method === undefined || method === request.method) &&
        path.test(request.url ?? '') &&
        used < (skip ?? 0) + (times ?? Number.POSITIVE_INFINITY),
    );
    if (rule === undefined) return undefined;
    rule.used++;
    return rule.used > (rule.skip ?? 0) ? rule.fault : undefined;
  };

  const server = createServer((request, response) => {
    seen.push({ method: request.method ?? '', url: request.url ?? '', authorization: request.headers.authorization });
    const fault = faultFor(request);
    if (fault === undefined) {
      listener(request, response);
      return;
    }
    apply(fault, request, response, () => listener(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    host: `127.0.0.1:${port}`,
    port,
    requests,
    seen,
    script: (...next) => {
      rules = next.map((rule) => ({ ...rule, used: 0 }));
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

const apply = (fault: Fault, request: IncomingMessage, response: ServerResponse, forward: () => void): void => {
  switch (fault.kind) {
    case 'answer':
      request.resume();
      response.writeHead(fault.status, fault.headers ?? {});
      response.end(request.method === 'HEAD' ? undefined : (fault.body ?? ''));
      return;
    case 'reset':
      request.socket.resetAndDestroy();
      return;
    case 'reset-after':
      response.end = (() => {
        request.socket.resetAndDestroy();
        return response;
      }) as typeof response.end;
      response.writeHead = (() => response) as typeof response.writeHead;
      forward();
      return;
    case 'delay':
      setTimeout(forward, fault.ms);
      return;
    case 'hang':
      request.resume();
      return;
    case 'stall':
      request.resume();
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' });
      response.write('{"half":');
      return;
    case 'flood':
      flood(response, fault.bytes);
      return;
    case 'headers':
    case 'body':
      change(fault, response);
      forward();
  }
};

const change = (fault: Fault & { kind: 'headers' | 'body' }, response: ServerResponse): void => {
  const writeHead = response.writeHead.bind(response);
  const end = response.end.bind(response);
  response.writeHead = ((status: number, headers: Record<string, string>) => {
    const changed = fault.kind === 'headers' ? { ...headers, ...fault.headers } : { ...headers };
    if (fault.kind === 'body') changed['content-length'] = String(Buffer.byteLength(fault.body));
    return writeHead(status, Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined)));
  }) as typeof response.writeHead;
  if (fault.kind === 'body') response.end = (() => end(fault.body)) as typeof response.end;
};

const flood = (response: ServerResponse, bytes: number): void => {
  response.writeHead(200, { 'content-type': 'application/json' });
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

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { watchConnections } from './connections.ts';
import { methodNotAllowed, metricsOff, noSuchPath } from './http-faults.ts';
import { toProblem } from './problem.ts';
import { requestIdFrom } from './request-id.ts';
import type { ListenAddress } from './security.ts';

/** One thing that readiness depends on: `serving`, `audit`, `issuers`, `event loop`. */
export type Check = { readonly name: string; readonly ok: boolean; readonly detail: string };

export type AdminOptions = {
  readonly address: ListenAddress;
  /** Asked on every `/readyz`: ready when all are `ok`. Must not throw or wait for the network. */
  readonly ready: () => readonly Check[];
  /** Writes the metrics page; undefined: `/metrics` is 404, and says why. */
  readonly metrics: ((request: IncomingMessage, response: ServerResponse) => void) | undefined;
  /** Shown by `/version`. */
  readonly version: Readonly<Record<string, string>>;
};

/** A running admin listener. */
export type AdminListener = { readonly port: number; close(): Promise<void> };

const sendJson = (request: IncomingMessage, response: ServerResponse, status: number, value: unknown): void => {
  const body = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'cache-control': 'no-store',
    'content-length': Buffer.byteLength(body),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
};

/**
 * Starts the admin listener: plain HTTP for probes and scrapers, no authentication, so it belongs on an inner address.
 * `/livez`: 200 while the event loop turns. `/readyz`: 200 or 503, with every check. `/metrics`, `/version`.
 */
export const startAdmin = async ({ address, ready, metrics, version }: AdminOptions): Promise<AdminListener> => {
  const pages: Record<string, (request: IncomingMessage, response: ServerResponse) => void> = {
    '/livez': (request, response) => sendJson(request, response, 200, { live: true }),
    '/readyz': (request, response) => {
      const checks = ready();
      const isReady = checks.every(({ ok }) => ok);
      sendJson(request, response, isReady ? 200 : 503, { ready: isReady, checks });
    },
    '/version': (request, response) => sendJson(request, response, 200, version),
    ...(metrics === undefined ? {} : { '/metrics': metrics }),
  };

  const server = createServer({ headersTimeout: 5_000, requestTimeout: 10_000 }, (request, response) => {
    const path = request.url?.split('?', 1)[0] ?? '';
    const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
    if (page !== undefined && (request.method === 'GET' || request.method === 'HEAD')) {
      page(request, response);
      return;
    }
    const absent = path === '/metrics' ? metricsOff : noSuchPath;
    const { error, status } = page === undefined ? absent() : methodNotAllowed(['GET']);
    const problem = toProblem(error, requestIdFrom(undefined), status);
    response.writeHead(status, { ...problem.headers, ...(page === undefined ? {} : { allow: 'GET, HEAD' }) });
    response.end(problem.body);
  });
  const connections = watchConnections(server, { maxConnections: 100, maxConnectionsPerAddress: 100 });
  server.listen(address.port, address.host);
  await once(server, 'listening');
  const bound = server.address();
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      connections.destroyAll();
      await closed;
    },
  };
};

import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type DescMessage, type Message, toJson } from '@bufbuild/protobuf';
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { toCountersignError } from '../model/error.ts';
import { watchConnections } from './connections.ts';
import { conclude, type Edge, type Exchange, handle } from './handle.ts';
import {
  answerBrokenConnection,
  faultOfFramework,
  type HttpFault,
  methodNotAllowed,
  noSuchPath,
  unsupportedMediaType,
} from './http-faults.ts';
import type { Limits } from './limits.ts';
import { type Method, methods } from './methods.ts';
import { toProblem } from './problem.ts';
import { requestIdFrom } from './request-id.ts';
import { readRest } from './rest-request.ts';
import { fastifyPath, type Route, routesOf, templateExpression } from './routes.ts';
import { type ListenAddress, type ListenerSecurity, tlsOptions } from './security.ts';

export type RestOptions = {
  readonly edge: Edge;
  readonly address: ListenAddress;
  readonly security: ListenerSecurity;
  readonly limits: Limits;
};

/** A running REST listener. */
export type RestEdge = {
  readonly port: number;
  /** Takes no new connections; resolves when every request has been answered, or after `graceMs` milliseconds, when those left are cut off. */
  close(graceMs: number): Promise<void>;
};

/** The OpenAPI 3.1 document of the contract, JSON text. */
export const openApiDocument = (): string => readFileSync(new URL('../gen/openapi.json', import.meta.url), 'utf8');

const commonHeaders = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

const write = (schema: DescMessage, message: Message): string =>
  JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true }));

/** `Prefer: wait=10` (RFC 7240 section 4.3): the seconds that the caller will wait. */
const waitMs = (request: FastifyRequest): number => {
  const seconds = /(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?:$|[,;])/i.exec(String(request.headers.prefer ?? ''))?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000;
};

const exchangeOf = (
  request: FastifyRequest,
  reply: FastifyReply,
  route: Route,
  maxBytes: number,
): Exchange<string> => ({
  transport: 'rest',
  header: (name) => request.raw.headersDistinct[name] ?? [],
  timeoutMs: waitMs(request),
  // Also comes after the whole answer was sent.
  onCancel: (cancel) => void reply.raw.once('close', cancel),
  read: (schema) => {
    const { query, params, body } = request as {
      query: { text: string };
      params: Record<string, string>;
      body: unknown;
    };
    const bytes = body instanceof Uint8Array ? body : undefined;
    return readRest(schema, route, { path: params, query: query.text, body: bytes }, maxBytes);
  },
  write,
});

const sendFault = (
  edge: Edge,
  request: FastifyRequest,
  reply: FastifyReply,
  { error, status }: HttpFault,
): FastifyReply => {
  const requestId = requestIdFrom(request.raw.headersDistinct['x-request-id']?.[0]);
  const started = performance.now() - reply.elapsedTime;
  conclude(edge, { transport: 'rest', method: 'unknown', requestId, started }, error);
  const problem = toProblem(error, requestId, status);
  return reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body));
};

const addRoute = (app: FastifyInstance, edge: Edge, method: Method, route: Route, limits: Limits): void => {
  app.route({
    method: route.httpMethod,
    url: fastifyPath(route.template),
    handler: async (request, reply) => {
      const answer = await handle(edge, method, exchangeOf(request, reply, route, limits.maxMessageBytes));
      if (answer.error === undefined) {
        return reply.headers({ ...commonHeaders, 'x-request-id': answer.requestId }).send(answer.written);
      }
      const problem = toProblem(answer.error, answer.requestId);
      return reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body));
    },
  });
};

const jsonType = /^application\/json(?:\s*;\s*charset\s*=\s*"?utf-?8"?)?\s*$/i;

/** A body is JSON in UTF-8, plain: anything else is refused before it is read. */
const checkBodyHeaders = ({ headers }: FastifyRequest): HttpFault | undefined => {
  const type = headers['content-type'];
  const encoding = headers['content-encoding'];
  const acceptable = (type === undefined || jsonType.test(type)) && (encoding === undefined || encoding === 'identity');
  return acceptable ? undefined : unsupportedMediaType();
};

const createServer = (
  security: ListenerSecurity,
  limits: Limits,
  handler: (request: never, response: never) => void,
): Server => {
  const options: ServerOptions = {
    headersTimeout: limits.headersMs,
    requestTimeout: limits.bodyMs,
    connectionsCheckingInterval: 1000,
    keepAliveTimeout: 65_000,
    maxHeaderSize: 16 * 1024,
    noDelay: true,
  };
  const listener = handler as (request: unknown, response: unknown) => void;
  return security.kind === 'plaintext'
    ? createHttpServer(options, listener)
    : createHttpsServer({ ...options, ...tlsOptions(security, limits.tlsHandshakeMs, ['http/1.1']) }, listener);
};

const addDocuments = (app: FastifyInstance): void => {
  const document = openApiDocument();
  const root = JSON.stringify({ service: 'countersign', openapi: '/openapi.json' });
  const serve = (path: string, body: string): void => {
    app.get(path, (request, reply) => {
      const requestId = requestIdFrom(request.raw.headersDistinct['x-request-id']?.[0]);
      return reply.headers({ ...commonHeaders, 'x-request-id': requestId }).send(body);
    });
  };
  serve('/openapi.json', document);
  serve('/', root);
};

/** Starts REST: the contract's methods by their google.api.http options. Rejects when the address cannot be listened on. */
export const startRest = async ({ edge, address, security, limits }: RestOptions): Promise<RestEdge> => {
  const app = fastify({
    serverFactory: (handler) => createServer(security, limits, handler),
    bodyLimit: limits.maxMessageBytes,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    clientErrorHandler: (error, socket) => void answerBrokenConnection(error, socket),
    frameworkErrors: (error, request, reply) => {
      sendFault(edge, request, reply, faultOfFramework(error) ?? noSuchPath());
    },
    routerOptions: { maxParamLength: 256, querystringParser: (text: string) => ({ text }) },
  });
  const connections = watchConnections(app.server, limits);

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  app.addHook('onRequest', async (request, reply) => {
    const fault = checkBodyHeaders(request);
    if (fault !== undefined) return sendFault(edge, request, reply, fault);
    return undefined;
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const fault = faultOfFramework(error) ?? { error: toCountersignError(error), status: 500 };
    return sendFault(edge, request, reply, fault);
  });

  const routes = methods.flatMap((method) => routesOf(method.desc).map((route) => ({ method, route })));
  for (const { method, route } of routes) addRoute(app, edge, method, route, limits);
  addDocuments(app);

  const paths = [
    ...routes.map(({ route }) => ({ method: route.httpMethod, expression: templateExpression(route.template) })),
    ...['/', '/openapi.json'].map((path) => ({ method: 'GET', expression: templateExpression(path) })),
  ];
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0] ?? '';
    const allowed = paths.filter(({ expression }) => expression.test(path)).map(({ method }) => method);
    if (allowed.length === 0) return sendFault(edge, request, reply, noSuchPath());
    const allow = allowed.includes('GET') ? [...allowed, 'HEAD'] : allowed;
    reply.header('allow', allow.join(', '));
    return sendFault(edge, request, reply, methodNotAllowed(allowed));
  });

  await app.listen({ host: address.host, port: address.port });
  const bound = app.server.address();
  let closed: Promise<void> | undefined;
  return {
    port: typeof bound === 'object' && bound !== null ? bound.port : address.port,
    close: async (graceMs) => {
      closed ??= app.close();
      const timer = setTimeout(connections.destroyAll, graceMs);
      await closed.finally(() => clearTimeout(timer));
    },
  };
};

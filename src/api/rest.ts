import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type Server, type ServerOptions } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { Server as TlsServer } from 'node:tls';
import { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify';
import { toCountersignError } from '../model/error.ts';
import type { TlsMaterial } from '../net/tls.ts';
import { conclude } from './conclude.ts';
import { watchConnections } from './connections.ts';
import { type Edge, handle } from './handle.ts';
import {
  answerBrokenConnection,
  faultOfFramework,
  type HttpFault,
  methodNotAllowed,
  noSuchPath,
  unsupportedMediaType,
} from './http-faults.ts';
import type { Limits } from './limits.ts';
import { type Method, methods, type StreamMethod, streamMethods } from './methods.ts';
import { toProblem } from './problem.ts';
import { requestIdFrom } from './request-id.ts';
import { commonHeaders, restExchange } from './rest-exchange.ts';
import { answerStream } from './rest-stream.ts';
import { fastifyPath, type Route, routesOf, templateExpression } from './routes.ts';
import { type ListenAddress, type ListenerSecurity, secureContextOf, tlsOptions } from './security.ts';

export type RestOptions = {
  readonly edge: Edge;
  readonly address: ListenAddress;
  readonly security: ListenerSecurity;
  readonly limits: Limits;
};

/** A running REST listener. */
export type RestEdge = {
  readonly port: number;
  /** Shows another certificate to new connections; those that are open go on with theirs. Nothing without TLS. */
  renew(material: TlsMaterial): void;
  /** Takes no new connections; resolves when every request has been answered, or after `graceMs` milliseconds, when those left are cut off. */
  close(graceMs: number): Promise<void>;
};

/** The OpenAPI 3.1 document of the contract, JSON text. */
export const openApiDocument = (): string => readFileSync(new URL('../gen/openapi.json', import.meta.url), 'utf8');

const sendFault = (
  edge: Edge,
  request: FastifyRequest,
  reply: FastifyReply,
  { error, status }: HttpFault,
): FastifyReply => {
  const requestId = requestIdFrom(request.raw.headersDistinct['x-request-id']?.[0]);
  const started = performance.now() - reply.elapsedTime;
  conclude(edge.logger, { transport: 'rest', method: 'unknown', requestId, started }, error);
  const problem = toProblem(error, requestId, status);
  return reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body));
};

const addRoute = (app: FastifyInstance, edge: Edge, method: Method, route: Route, limits: Limits): void => {
  app.route({
    method: route.httpMethod,
    url: fastifyPath(route.template),
    handler: async (request, reply) => {
      const answer = await handle(edge, method, restExchange(request, reply, route, limits.maxMessageBytes));
      if (answer.error === undefined) {
        return reply.headers({ ...commonHeaders, 'x-request-id': answer.requestId }).send(answer.written);
      }
      const problem = toProblem(answer.error, answer.requestId);
      return reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body));
    },
  });
};

const addStreamRoute = (app: FastifyInstance, edge: Edge, method: StreamMethod, route: Route, limits: Limits): void => {
  app.route({
    method: route.httpMethod,
    url: fastifyPath(route.template),
    handler: (request, reply) =>
      answerStream({ edge, method, route, limits }, request, reply, (fault) => sendFault(edge, request, reply, fault)),
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

  for (const method of methods) {
    for (const route of routesOf(method.desc)) addRoute(app, edge, method, route, limits);
  }
  for (const method of streamMethods) {
    for (const route of routesOf(method.desc)) addStreamRoute(app, edge, method, route, limits);
  }
  addDocuments(app);

  const paths = [
    ...[...methods, ...streamMethods]
      .flatMap(({ desc }) => routesOf(desc))
      .map(({ httpMethod, template }) => ({ method: httpMethod, expression: templateExpression(template) })),
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
    renew: (material) => {
      if (app.server instanceof TlsServer) app.server.setSecureContext(secureContextOf(material));
    },
    close: async (graceMs) => {
      closed ??= app.close();
      const timer = setTimeout(connections.destroyAll, graceMs);
      await closed.finally(() => clearTimeout(timer));
    },
  };
};

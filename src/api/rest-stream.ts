import type { FastifyReply, FastifyRequest } from 'fastify';
import { cancelled } from '../model/context.ts';
import { untilDrained } from './backpressure.ts';
import { type Edge, handleStream } from './handle.ts';
import { type HttpFault, notAcceptable } from './http-faults.ts';
import type { Limits } from './limits.ts';
import type { StreamMethod } from './methods.ts';
import { toProblem } from './problem.ts';
import { commonHeaders, restExchange, writeJson } from './rest-exchange.ts';
import type { Route } from './routes.ts';

const mediaType = 'application/x-ndjson';

const headers = {
  ...commonHeaders,
  'content-type': mediaType,
  // A proxy (nginx) that gathers the answer would give the lines out too late.
  'x-accel-buffering': 'no',
};

/** Does `Accept` (RFC 9110 section 12.5.1) admit the lines? The most specific range that fits decides. */
const accepts = (header: string | undefined): boolean => {
  if (header === undefined || header.trim() === '') return true;
  const ranges = header.split(',').map((text) => {
    const [range = '', ...parameters] = text.split(';').map((part) => part.trim().toLowerCase());
    return { range, refused: parameters.some((parameter) => /^q\s*=\s*0(?:\.0*)?$/.test(parameter)) };
  });
  for (const wanted of [mediaType, 'application/*', '*/*']) {
    const found = ranges.find(({ range }) => range === wanted);
    if (found !== undefined) return !found.refused;
  }
  return false;
};

/**
 * Answers a streaming method: one message in JSON a line, each written as it comes. What fails before the first line is a
 * problem as any other; after it, the last line says why the stream ended early.
 */
export const answerStream = async (
  {
    edge,
    method,
    route,
    limits,
  }: {
    readonly edge: Edge;
    readonly method: StreamMethod;
    readonly route: Route;
    readonly limits: Limits;
  },
  request: FastifyRequest,
  reply: FastifyReply,
  refuse: (fault: HttpFault) => FastifyReply,
): Promise<FastifyReply | undefined> => {
  if (!accepts(request.headers.accept)) return refuse(notAcceptable(mediaType));
  const { raw } = reply;
  const begin = (requestId: string): void => {
    if (raw.headersSent) return;
    reply.hijack();
    raw.writeHead(200, { ...headers, 'x-request-id': requestId });
  };
  const { requestId, error } = await handleStream(edge, method, {
    ...restExchange(request, reply, route, limits.maxMessageBytes),
    send: async (line, id) => {
      if (raw.destroyed) throw cancelled();
      begin(id);
      if (!raw.write(`${line}\n`)) await untilDrained(raw, 'close', limits.readMs);
    },
  });
  if (error !== undefined && !raw.headersSent) {
    const problem = toProblem(error, requestId);
    return reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body));
  }
  begin(requestId);
  if (error?.reason === 'READER_STALLED') raw.destroy();
  else raw.end(error === undefined ? undefined : `${writeJson(method.desc.output, method.last(error, requestId))}\n`);
  return undefined;
};

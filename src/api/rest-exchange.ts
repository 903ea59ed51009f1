import { type DescMessage, type Message, toJson } from '@bufbuild/protobuf';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Exchange } from './handle.ts';
import { readRest, readRestJson } from './rest-request.ts';
import type { Route } from './routes.ts';
import { detailTypes } from './status.ts';

/** On every answer in JSON. */
export const commonHeaders = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

/** A message as JSON text on one line. */
export const writeJson = (schema: DescMessage, message: Message): string =>
  JSON.stringify(toJson(schema, message, { alwaysEmitImplicit: true, registry: detailTypes }));

/** `Prefer: wait=10` (RFC 7240 section 4.3): the seconds that the caller will wait. */
const waitMs = (request: FastifyRequest): number => {
  const seconds = /(?:^|[,;])\s*wait\s*=\s*(\d{1,6})\s*(?:$|[,;])/i.exec(String(request.headers.prefer ?? ''))?.[1];
  return seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000;
};

/** One HTTP request as `handle` wants it. */
export const restExchange = (
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
  decode: (decoder) => {
    const { query, params, body } = request as {
      query: { text: string };
      params: Record<string, string>;
      body: unknown;
    };
    const bytes = body instanceof Uint8Array ? body : undefined;
    const parts = { path: params, query: query.text, body: bytes };
    const { input } = decoder.desc;
    return decoder.decodeJson === undefined
      ? decoder.decode(readRest(input, route, parts, maxBytes))
      : decoder.decodeJson(readRestJson(input, route, parts, maxBytes));
  },
  write: writeJson,
});

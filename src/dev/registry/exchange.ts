import type { IncomingMessage, ServerResponse } from 'node:http';

/** One request to the embedded registry, and how to answer it. */
export type Exchange = {
  readonly method: string;
  readonly url: URL;
  readonly request: IncomingMessage;
  /** Reads the whole body; above `limit` bytes it throws. */
  body(limit: number): Promise<Buffer>;
  answer(status: number, headers?: Readonly<Record<string, string>>, body?: Uint8Array | string): void;
  /** An error as the distribution specification writes it. */
  refuse(status: number, code: string, message: string, headers?: Readonly<Record<string, string>>): void;
};

export class BodyTooLarge extends Error {}

export const createExchange = (request: IncomingMessage, response: ServerResponse): Exchange => {
  const method = request.method ?? 'GET';
  const answer: Exchange['answer'] = (status, headers = {}, body = '') => {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    response.writeHead(status, {
      'docker-distribution-api-version': 'registry/2.0',
      ...(status === 204 || status === 304 ? {} : { 'content-length': String(bytes.byteLength) }),
      ...headers,
    });
    response.end(method === 'HEAD' ? undefined : bytes);
  };
  return {
    method,
    // The authority is not looked at; a target that is no path, as of a proxy, is no page here.
    url: URL.parse(`http://registry${request.url ?? '/'}`) ?? new URL('http://registry/'),
    request,
    body: async (limit) => {
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of request) {
        size += chunk.byteLength;
        if (size > limit) throw new BodyTooLarge();
        chunks.push(chunk);
      }
      return Buffer.concat(chunks);
    },
    answer,
    refuse: (status, code, message, headers) =>
      answer(
        status,
        { 'content-type': 'application/json', ...headers },
        JSON.stringify({ errors: [{ code, message, detail: {} }] }),
      ),
  };
};

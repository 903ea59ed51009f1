// A scripted proxy for HTTP/1.1, plain or with TLS.
import { once } from 'node:events';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as requestPlain,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, request as requestTls } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Pair } from '../../certificates.ts';
import { createScript, type Fault, type FaultProxy, flood, type Leg } from './fault-script.ts';

export type Asked = {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};

export type HttpAnswer = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Anything but text is sent as JSON. */
  readonly body?: unknown;
};
/** An answer in place of the backend's, which may depend on what was asked. */
export type HttpRefusal = HttpAnswer | ((asked: Asked) => HttpAnswer);

export type HttpProxyOptions = {
  /** Scheme, host and port of the backend. */
  readonly target: string;
  readonly legOf: (asked: Asked) => Leg | undefined;
  /** PEM: whom the proxy trusts as backend. */
  readonly ca?: string;
  /** Speaks https with this certificate. */
  readonly tls?: Pair;
  /** Headers that the backend gets in place of, or besides, those that came; `host` is the proxy's. */
  readonly headers?: (host: string) => Readonly<Record<string, string>>;
};

export type HttpFaultProxy = FaultProxy<HttpRefusal> & {
  /** Scheme, host and port. */
  readonly origin: string;
  readonly asked: readonly Asked[];
};

type Passed = {
  readonly status: number;
  readonly words: string;
  readonly rawHeaders: readonly string[];
  readonly body: Buffer;
};

const elsewhere = '/redirected';

const readAll = async (stream: AsyncIterable<Buffer>): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
};

/** Names and values as they came, without some. */
const without = (rawHeaders: readonly string[], ...names: readonly string[]): string[] =>
  rawHeaders.filter((_, index) => !names.includes((rawHeaders[index - (index % 2)] ?? '').toLowerCase()));

const head = (response: ServerResponse, { status, words, rawHeaders }: Passed, more: readonly string[] = []): void => {
  response.sendDate = false;
  const bare = more.length === 0 ? rawHeaders : without(rawHeaders, 'content-length', 'transfer-encoding');
  response.writeHead(status, words, [...bare, ...more]);
};

const answerWith = (response: ServerResponse, { status, headers, body }: HttpAnswer): void => {
  const text = typeof body === 'string' || body === undefined ? (body ?? '') : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(text);
};

/** What becomes of the backend's answer. `reset` resets the connection. */
const deliver = async (
  response: ServerResponse,
  passed: Passed,
  fault: Fault<HttpRefusal> | undefined,
  reset: () => void,
): Promise<void> => {
  const { body } = passed;
  const announce = (bytes: number): void => head(response, passed, ['Content-Length', `${bytes}`]);
  const send = (changed: Buffer): void => {
    announce(changed.length);
    response.end(changed);
  };
  const middle = Math.floor(body.length / 2);
  switch (fault?.kind) {
    case 'cut':
      announce(body.length);
      return void response.write(body.subarray(0, middle), reset);
    case 'half':
      announce(body.length + 100);
      return void response.write(body, () => response.socket?.end());
    case 'hang':
      return;
    case 'stall':
      announce(body.length);
      return void response.write(body.subarray(0, middle));
    case 'flood':
      head(response, passed, ['Transfer-Encoding', 'chunked']);
      return flood(response);
    case 'rewrite':
      return send(Buffer.from(JSON.stringify(fault.change(JSON.parse(body.toString())))));
    case 'garble':
      return send(fault.change(body));
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, fault.ms).unref());
      break;
    default:
  }
  head(response, passed);
  response.end(body);
};

export const startHttpProxy = async ({
  target,
  legOf,
  ca,
  tls,
  headers,
}: HttpProxyOptions): Promise<HttpFaultProxy> => {
  const { protocol, hostname, port } = new URL(target);
  const script = createScript<HttpRefusal>();
  const asked: Asked[] = [];
  const hanging = new Set<Socket>();
  /** TCP sockets by the port of the client: below TLS only these can be reset. */
  const sockets = new Map<number | undefined, Socket>();
  let followed = 0;
  let failure: unknown;
  let host = '';

  const forward = ({ method, path, body }: Asked, rawHeaders: readonly string[]): Promise<Passed> =>
    new Promise((resolve, reject) => {
      const send = protocol === 'https:' ? requestTls : requestPlain;
      const own = headers?.(host) ?? {};
      const options = {
        hostname,
        port,
        method,
        path,
        headers: [...without(rawHeaders, ...Object.keys(own)), ...Object.entries(own).flat()],
        agent: false,
        ...(ca && { ca }),
      };
      const outgoing = send(options, (answer) => {
        const { statusCode: status = 0, statusMessage: words = '', rawHeaders: answered } = answer;
        readAll(answer).then((content) => resolve({ status, words, rawHeaders: answered, body: content }), reject);
      });
      outgoing.on('error', reject).end(body);
    });

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url: path = '', socket } = request;
    const each: Asked = { method, path, headers: request.headers, body: await readAll(request) };
    const reset = (): void => void sockets.get(socket.remotePort)?.resetAndDestroy();
    asked.push(each);
    if (path.startsWith(elsewhere)) followed += 1;
    const fault = script.next(legOf(each));
    if (fault?.kind === 'hang' || fault?.kind === 'stall') hanging.add(socket);
    if (fault?.kind === 'reset') return reset();
    if (fault?.kind === 'redirect') {
      return answerWith(response, { status: 307, headers: { location: `${origin()}${elsewhere}${path}` }, body: {} });
    }
    if (fault?.kind === 'refusal') {
      return answerWith(response, typeof fault.refusal === 'function' ? fault.refusal(each) : fault.refusal);
    }
    await deliver(response, await forward(each, request.rawHeaders), fault, reset);
  };

  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response).catch((caught: unknown) => {
      failure ??= caught;
      request.socket.destroy();
    });
  };
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  server.on('connection', (socket: Socket) => {
    const { remotePort } = socket;
    sockets.set(remotePort, socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(remotePort));
  });
  server.on('clientError', (_, socket) => socket.destroy());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const origin = (): string => `${tls === undefined ? 'http' : 'https'}://${host}`;

  return {
    origin: origin(),
    asked,
    inject: script.inject,
    count: script.count,
    followed: () => followed,
    heal: () => {
      script.clear();
      for (const socket of hanging) socket.destroy();
      hanging.clear();
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      // What the backend did to the proxy, or a flood that went on, is a failure of the test.
      if (failure !== undefined) throw failure;
    },
  };
};

// A gRPC server as they were before reflection v1: it hands every call on, and does not know that one.
import { once } from 'node:events';
import { connect, constants, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';

export interface OlderServer {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** How often v1 was asked for, and refused as unimplemented. */
  readonly refusedV1: number;
  /** How many v1alpha calls were handed on. */
  readonly servedAlpha: number;
  stop(): Promise<void>;
}

const unimplemented = '12';

/** In front of the plain-text gRPC server at `upstream` (`host:port`). */
export async function startOlderServer(upstream: string): Promise<OlderServer> {
  const behind = connect(`http://${upstream}`);
  await once(behind, 'connect');
  const server = createServer();
  const sessions = new Set<{ destroy(): void }>();
  const seen = { v1: 0, alpha: 0 };
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    const path = String(headers[constants.HTTP2_HEADER_PATH]);
    if (path.startsWith('/grpc.reflection.v1.')) {
      seen.v1 += 1;
      const trailersOnly = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': unimplemented };
      stream.respond(trailersOnly, { endStream: true });
      return;
    }
    if (path.startsWith('/grpc.reflection.v1alpha.')) seen.alpha += 1;
    handOn(stream, behind.request({ ...headers, [constants.HTTP2_HEADER_AUTHORITY]: upstream }, { endStream: false }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    get refusedV1() {
      return seen.v1;
    },
    get servedAlpha() {
      return seen.alpha;
    },
    stop: async () => {
      for (const session of sessions) session.destroy();
      behind.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

function handOn(stream: ServerHttp2Stream, further: ReturnType<ReturnType<typeof connect>['request']>): void {
  further.on('error', () => stream.destroy());
  stream.on('close', () => further.close());
  stream.pipe(further);
  further.on('response', (headers, flags) => {
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      stream.respond(headers, { endStream: true });
      return;
    }
    let trailers = {};
    further.on('trailers', (received) => {
      trailers = received;
    });
    stream.on('wantTrailers', () => stream.sendTrailers(trailers));
    stream.respond(headers, { waitForTrailers: true });
    further.pipe(stream);
  });
}

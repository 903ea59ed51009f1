import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants, type ServerHttp2Stream } from 'node:http2';

const sweepMs = 1_000;

/**
 * Ends HTTP/2 streams on `port` whose client has not finished sending `ms` milliseconds after it began: gRPC asks nobody, not
 * even for a token, before a message is whole, and keeps the parts of it. Watches through node's diagnostics channels,
 * since grpc-js does not hand out its streams. Answers how to stop watching.
 */
export const endSlowSenders = (port: number, ms: number): (() => void) => {
  const open = new Map<ServerHttp2Stream, number>();
  const started = (message: unknown): void => {
    const { stream } = message as { readonly stream: ServerHttp2Stream };
    open.set(stream, performance.now());
  };
  const closed = (message: unknown): void => {
    const { stream } = message as { readonly stream: ServerHttp2Stream };
    open.delete(stream);
  };
  const sweep = (): void => {
    const latest = performance.now() - ms;
    for (const [stream, since] of open) {
      if (since > latest) break;
      open.delete(stream);
      const isOurs = stream.session?.socket.localPort === port;
      if (isOurs && !stream.readableEnded) stream.close(constants.NGHTTP2_CANCEL);
    }
  };
  subscribe('http2.server.stream.start', started);
  subscribe('http2.server.stream.close', closed);
  const timer = setInterval(sweep, Math.min(sweepMs, ms));
  timer.unref();
  return () => {
    clearInterval(timer);
    unsubscribe('http2.server.stream.start', started);
    unsubscribe('http2.server.stream.close', closed);
  };
};

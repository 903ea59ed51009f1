import { once } from 'node:events';
import { createServer, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { type Server, ServerCredentials } from '@grpc/grpc-js';
import type { TlsMaterial } from '../net/tls.ts';
import { watchConnections } from './connections.ts';
import type { Limits } from './limits.ts';
import { type ListenAddress, type ListenerSecurity, secureContextOf, tlsOptions } from './security.ts';
import { endSlowSenders } from './slow-senders.ts';

export type GrpcListener = {
  readonly port: number;
  /** Shows another certificate to new connections; nothing without TLS. */
  renew(material: TlsMaterial): void;
  /** Takes no more connections; resolves when all of them have ended. */
  close(): Promise<void>;
  /** Ends every open connection. */
  destroyAll(): void;
};

/** Hands a connection to gRPC once its first byte is there; one that stays silent is closed after `firstByteMs`. */
const inject = (socket: Socket, firstByteMs: number, accept: (socket: Socket) => void): void => {
  const timer = setTimeout(() => socket.destroy(), firstByteMs);
  timer.unref();
  socket.on('error', () => socket.destroy());
  socket.once('close', () => clearTimeout(timer));
  // 'readable' leaves the bytes in the socket's buffer, where http2 picks them up.
  socket.once('readable', () => {
    clearTimeout(timer);
    if (!socket.destroyed && socket.readableLength > 0) accept(socket);
    else socket.destroy();
  });
};

/**
 * Listens in gRPC's place, since grpc-js bounds neither the number of connections nor the time of a TLS handshake or of a
 * message that does not end, and without channelz cannot end its sessions by force. TLS ends here; a client that does not negotiate `h2` is refused.
 * Rejects with the system's error when it cannot listen.
 */
export const listenGrpc = async (
  server: Server,
  address: ListenAddress,
  security: ListenerSecurity,
  limits: Limits,
): Promise<GrpcListener> => {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const silent = new Set<Socket>();
  const accept = (socket: Socket): void => {
    silent.add(socket);
    socket.once('close', () => silent.delete(socket));
    inject(socket, limits.firstByteMs, (ready) => {
      silent.delete(socket);
      injector.injectConnection(ready);
    });
  };
  let listener: NetServer;
  let renew = (_material: TlsMaterial): void => {};
  if (security.kind === 'plaintext') {
    listener = createServer({ noDelay: true });
    listener.on('connection', (socket) => {
      if (!socket.destroyed) accept(socket);
    });
  } else {
    const tls = createTlsServer({ ...tlsOptions(security, limits.tlsHandshakeMs, ['h2']), noDelay: true });
    listener = tls;
    renew = (material) => tls.setSecureContext(secureContextOf(material));
    listener.on('secureConnection', (socket) => {
      if (socket.alpnProtocol === 'h2') accept(socket);
      else socket.destroy();
    });
    listener.on('tlsClientError', (_error, socket) => socket.destroy());
  }
  const connections = watchConnections(listener, limits);
  listener.listen(address.port, address.host);
  await once(listener, 'listening');
  const bound = listener.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  const stopWatching = endSlowSenders(port, limits.bodyMs);
  return {
    port,
    renew,
    close: () =>
      new Promise((resolve) => {
        listener.close(() => {
          stopWatching();
          resolve();
        });
        for (const socket of silent) socket.destroy();
      }),
    destroyAll: connections.destroyAll,
  };
};

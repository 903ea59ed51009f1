import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';

export type ConnectionLimits = { readonly maxConnections: number; readonly maxConnectionsPerAddress: number };

/** The open connections of one listener. */
export type Connections = {
  /** Ends every one of them at once. */
  destroyAll(): void;
};

/**
 * Watches the `connection` events of a listener (net, tls, http or https server). A connection beyond the total or its
 * remote address's share is closed before a byte of it is read.
 */
export const watchConnections = (server: EventEmitter, limits: ConnectionLimits): Connections => {
  const open = new Set<Socket>();
  const perAddress = new Map<string, number>();

  server.prependListener('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = perAddress.get(address) ?? 0;
    if (open.size >= limits.maxConnections || count >= limits.maxConnectionsPerAddress) {
      socket.destroy();
      return;
    }
    open.add(socket);
    perAddress.set(address, count + 1);
    socket.once('close', () => {
      open.delete(socket);
      const left = (perAddress.get(address) ?? 1) - 1;
      if (left === 0) perAddress.delete(address);
      else perAddress.set(address, left);
    });
  });

  return {
    destroyAll: () => {
      for (const socket of open) socket.destroy();
    },
  };
};

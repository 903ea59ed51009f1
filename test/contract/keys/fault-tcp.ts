// A scripted proxy below what is spoken (HTTP/2): bytes pass unchanged until a fault is armed for the next that come back.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { TransportFault } from './fault-script.ts';

export type TcpFaultProxy = {
  readonly port: number;
  /** For the next piece that the backend sends, on whatever connection. There are no floods here. */
  arm(fault: TransportFault): void;
  /** Closes connections on which something hangs. */
  heal(): void;
  close(): Promise<void>;
};

export const startTcpProxy = async (target: number): Promise<TcpFaultProxy> => {
  const pairs = new Map<Socket, Socket>();
  const hanging = new Set<Socket>();
  let armed: TransportFault | undefined;

  const end = (client: Socket): void => {
    pairs.get(client)?.destroy();
    pairs.delete(client);
    hanging.delete(client);
    client.destroy();
  };

  const back = (client: Socket, piece: Buffer): void => {
    if (hanging.has(client)) return;
    const fault = armed;
    armed = undefined;
    const middle = piece.subarray(0, Math.floor(piece.length / 2));
    switch (fault?.kind) {
      case 'delay': {
        const backend = pairs.get(client)?.pause();
        setTimeout(() => {
          client.write(piece);
          backend?.resume();
        }, fault.ms).unref();
        return;
      }
      case 'reset':
        return void client.resetAndDestroy();
      case 'cut':
        return void client.write(middle, () => client.resetAndDestroy());
      case 'half':
        hanging.add(client);
        return void client.end(middle);
      case 'stall':
        client.write(middle);
        return void hanging.add(client);
      case 'hang':
        return void hanging.add(client);
      default:
        client.write(piece);
    }
  };

  const server = createServer((client) => {
    const backend = connect(target, '127.0.0.1');
    pairs.set(client, backend);
    client.on('data', (piece) => backend.write(piece));
    backend.on('data', (piece: Buffer) => back(client, piece));
    for (const socket of [client, backend]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined).on('close', () => end(client));
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    arm: (fault) => {
      armed = fault;
    },
    heal: () => {
      armed = undefined;
      for (const client of [...hanging]) end(client);
    },
    close: async () => {
      for (const client of [...pairs.keys()]) end(client);
      server.close();
      await once(server, 'close');
    },
  };
};

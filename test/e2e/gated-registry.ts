import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { registryListener } from '../../src/dev/registry.ts';

export type GatedRegistry = {
  /** `127.0.0.1:port` */
  readonly host: string;
  /** From now on the pushing of manifests waits. */
  hold(): void;
  /** Resolves when a push waits. */
  held(): Promise<void>;
  release(): void;
  close(): Promise<void>;
};

/** The embedded registry, with a gate before every push of a manifest: a Sign can be kept under way for as long as it takes. */
export const startGatedRegistry = async (): Promise<GatedRegistry> => {
  const { listener } = registryListener({});
  let gate = Promise.withResolvers<void>();
  gate.resolve();
  let arrival = Promise.withResolvers<void>();
  let closed = false;
  const server = createServer((request, response) => {
    const isPush = request.method === 'PUT' && request.url?.includes('/manifests/') === true;
    if (!isPush || !closed) return listener(request, response);
    arrival.resolve();
    void gate.promise.then(() => listener(request, response));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: () => {
      closed = true;
      gate = Promise.withResolvers<void>();
      arrival = Promise.withResolvers<void>();
    },
    held: () => arrival.promise,
    release: () => {
      closed = false;
      gate.resolve();
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
};

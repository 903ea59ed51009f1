import { once } from 'node:events';
import { type AddressInfo, connect } from 'node:net';
import { createServer } from 'node:tls';
import type { Pair } from '../certificates.ts';

/** TLS on loopback before a server on another port that speaks none itself. */
export async function startTlsFront(
  port: number,
  certificate: Pair,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const open = new Set<{ destroy(): void }>();
  const server = createServer(certificate, (outer) => {
    const inner = connect(port, '127.0.0.1');
    for (const socket of [outer, inner]) {
      open.add(socket);
      socket.on('error', () => undefined).on('close', () => [outer, inner].forEach((one) => void one.destroy()));
    }
    outer.pipe(inner).pipe(outer);
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    stop: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

// AWS KMS, STS and ECR as MiniStack has them, on loopback. Where it differs from AWS: RAW messages above 4096 bytes and DryRun
// are accepted, and identity policies are not looked at.
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { type AwsPeer, awsPeer } from './aws-peer.ts';
import { temporaryFolder } from './peer.ts';
import { answers, startPeer } from './process.ts';

export type { KmsKey } from './aws-peer.ts';
export { region } from './aws-peer.ts';

export type Ministack = AwsPeer;

export async function startMinistack(): Promise<Ministack> {
  const running = await startPeer('ministack', {
    args: () => [],
    env: (port) => ({
      BIND_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      SERVICES: 'kms,sts,ecr',
      IOT_MTLS_ENABLED: '0',
      SFTP_ENABLED: '0',
      TMPDIR: temporaryFolder('ministack'),
    }),
    ready: (port) => answers(`http://127.0.0.1:${port}/_ministack/ready`, 200),
    timeoutMs: 60_000,
  });
  return awsPeer(`http://127.0.0.1:${running.port}`, running.stop);
}

export interface Forwarder {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** The bodies that came, in order. */
  readonly bodies: readonly string[];
  stop(): Promise<void>;
}

/** Hands requests on to `endpoint` and remembers them; with `tls` (PEM) it speaks https, as cosign demands of an endpoint. */
export async function startForwarder(
  endpoint: string,
  tls?: { readonly cert: string; readonly key: string },
): Promise<Forwarder> {
  const bodies: string[] = [];
  const handle: RequestListener = async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    bodies.push(body.toString());
    const { connection: _, host: __, 'content-length': ___, ...headers } = request.headers;
    const answer = await fetch(endpoint + (request.url ?? '/'), {
      method: request.method ?? 'POST',
      headers: headers as Record<string, string>,
      body,
    });
    response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' });
    response.end(Buffer.from(await answer.arrayBuffer()));
  };
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

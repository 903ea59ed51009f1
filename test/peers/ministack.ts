// AWS KMS and STS as MiniStack has them, on loopback. Where it differs from AWS: RAW messages above 4096 bytes and DryRun
// are accepted, and identity policies are not looked at.
import { createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { temporaryFolder } from './peer.ts';
import { answers, startPeer } from './process.ts';

export interface KmsKey {
  readonly id: string;
  readonly arn: string;
  /** The public key. */
  readonly pem: string;
}

export interface Ministack {
  readonly endpoint: string;
  /** Credentials and region, as cosign's awskms:// keys and the SDKs want them. */
  readonly env: Readonly<Record<string, string>>;
  /** One operation of KMS; throws unless it succeeds. The answer is taken to be a Body. */
  kms<Body = unknown>(operation: string, body: object): Promise<Body>;
  /** Makes a key that signs, with an alias (`alias/NAME`). */
  createKey(alias: string, spec: string): Promise<KmsKey>;
  stop(): Promise<void>;
}

export const region = 'eu-central-1';

export async function startMinistack(): Promise<Ministack> {
  const running = await startPeer('ministack', {
    args: () => [],
    env: (port) => ({
      BIND_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      SERVICES: 'kms,sts',
      IOT_MTLS_ENABLED: '0',
      SFTP_ENABLED: '0',
      TMPDIR: temporaryFolder('ministack'),
    }),
    ready: (port) => answers(`http://127.0.0.1:${port}/_ministack/ready`, 200),
    timeoutMs: 60_000,
  });
  const endpoint = `http://127.0.0.1:${running.port}`;

  const kms = async <Body>(operation: string, body: object): Promise<Body> => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-amz-json-1.1',
        'x-amz-target': `TrentService.${operation}`,
        // Signatures are not checked; the region is read from here.
        authorization: `AWS4-HMAC-SHA256 Credential=test/20260101/${region}/kms/aws4_request, SignedHeaders=host, Signature=0`,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const answer = await response.text();
    if (response.status !== 200) throw new Error(`KMS: ${operation}: ${response.status} ${answer}`);
    return JSON.parse(answer === '' ? 'null' : answer);
  };

  return {
    endpoint,
    env: {
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'the-secret-of-a-test',
      AWS_REGION: region,
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/nonexistent/config',
      AWS_SHARED_CREDENTIALS_FILE: '/nonexistent/credentials',
    },
    kms,
    createKey: async (alias, spec) => {
      const { KeyMetadata } = await kms<{ KeyMetadata: { KeyId: string; Arn: string } }>('CreateKey', {
        KeySpec: spec,
        KeyUsage: 'SIGN_VERIFY',
      });
      await kms('CreateAlias', { AliasName: alias, TargetKeyId: KeyMetadata.KeyId });
      const { PublicKey } = await kms<{ PublicKey: string }>('GetPublicKey', { KeyId: KeyMetadata.KeyId });
      const key = createPublicKey({ key: Buffer.from(PublicKey, 'base64'), format: 'der', type: 'spki' });
      const pem = key.export({ type: 'spki', format: 'pem' }).toString();
      return { id: KeyMetadata.KeyId, arn: KeyMetadata.Arn, pem };
    },
    stop: running.stop,
  };
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

// AWS KMS as LocalStack has it, on loopback: the states of keys as AWS documents them, and key ids that a test chooses.
// It has no Ed25519 and no STS; RAW messages above 4096 bytes and DryRun are accepted as MiniStack accepts them.
import { join } from 'node:path';
import { type AwsPeer, awsPeer } from './aws-peer.ts';
import { temporaryFolder } from './peer.ts';
import { answers, startPeer } from './process.ts';

export async function startLocalstack(): Promise<AwsPeer> {
  const running = await startPeer('localstack', {
    args: () => [],
    // Without these it binds every interface, serves DNS, and writes below /var/lib.
    env: (port) => ({
      OVERRIDE_IN_DOCKER: '0',
      FILESYSTEM_ROOT: join(temporaryFolder('localstack'), 'root'),
      DNS_ADDRESS: '0',
      SERVICES: 'kms',
      GATEWAY_SERVER: 'hypercorn',
      GATEWAY_LISTEN: `127.0.0.1:${port}`,
      DISABLE_EVENTS: '1',
      SKIP_SSL_CERT_DOWNLOAD: '1',
    }),
    ready: (port) => answers(`http://127.0.0.1:${port}/_localstack/health`, 200),
    timeoutMs: 120_000,
  });
  return awsPeer(`http://127.0.0.1:${running.port}`, running.stop);
}

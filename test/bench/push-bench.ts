import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { createServiceClient, type ServiceClient } from '../../src/cli/client.ts';
import { generateKeyPair, type KeyPair, keyPassword } from '../peers/cosign.ts';
import { absentPeers, type PeerName } from '../peers/peer.ts';
import { generateLoad, type LoadReport } from './generate-load.ts';
import { signMethod } from './peer-bench.ts';
import { type Served, startServed } from './served.ts';

/** The service with a key of cosign's (`file`), for a registry that runs already. */
export type PushBench = {
  readonly keyPair: KeyPair;
  readonly served: Served;
  readonly client: ServiceClient;
  /** Sends one Sign request over and over. */
  load(request: Buffer, inFlight: number, seconds: number): Promise<LoadReport>;
};

/** Why these figures cannot be had here; undefined when they can. */
export const absentOf = (...needed: readonly PeerName[]): string | undefined => {
  const absent = absentPeers().filter((peer) => needed.includes(peer.name as PeerName));
  const names = absent.map((peer) => peer.name);
  return absent.length === 0 ? undefined : `absent: ${names.join(', ')}; test/peers/install brings them`;
};

export const withPushBench = async <T>(host: string, measure: (bench: PushBench) => Promise<T>): Promise<T> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-push-'));
  try {
    const keyPair = await generateKeyPair(folder);
    const served = await startServed({
      keys: [{ name: 'file', kind: 'local', file: keyPair.privateKey, password: keyPassword }],
      plainHttpHosts: [host],
    });
    const client = createServiceClient({
      authority: served.grpc,
      credentials: credentials.createInsecure(),
      timeoutMs: 240_000,
      token: async () => served.token,
    });
    const load: PushBench['load'] = (request, inFlight, seconds) => {
      const requestFile = join(folder, 'request');
      writeFileSync(requestFile, request);
      const order = { target: served.grpc, path: signMethod, requestFile, token: served.token, inFlight, seconds };
      return generateLoad({ ...order, warmupSeconds: Math.max(1, seconds / 3) }, served.process);
    };
    try {
      return await measure({ keyPair, served, client, load });
    } finally {
      client.close();
      await served.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

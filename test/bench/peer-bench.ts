import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { generateKeyPair, type KeyPair, keyPassword } from '../peers/cosign.ts';
import { absentPeers, type PeerName } from '../peers/peer.ts';
import { type Registry, startGgcrRegistry } from '../peers/registries.ts';
import { startVault, type Vault } from '../peers/vault.ts';
import { generateLoad, type LoadReport } from './generate-load.ts';
import { type Served, startServed } from './served.ts';

/** The service with a key of cosign's (`file`) and one in a real Vault (`vault`), and a fast registry. */
export type PeerBench = {
  readonly vault: Vault;
  readonly registry: Registry;
  readonly keyPair: KeyPair;
  readonly served: Served;
  /** Sends one request over and over. */
  load(method: string, request: Buffer, inFlight: number, seconds: number): Promise<LoadReport>;
};

const needed: readonly PeerName[] = ['cosign-3.1.1', 'cosign-3.1.3', 'vault', 'ggcr-registry', 'crane'];

/** Why these figures cannot be had here; undefined when they can. */
export const peersMissing = (): string | undefined => {
  const absent = absentPeers().filter((peer) => needed.includes(peer.name as PeerName));
  return absent.length === 0
    ? undefined
    : `absent: ${absent.map((peer) => peer.name).join(', ')}; test/peers/install brings them`;
};

export const withPeerBench = async <T>(measure: (bench: PeerBench) => Promise<T>): Promise<T> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-peers-'));
  const [vault, registry] = await Promise.all([startVault(), startGgcrRegistry()]);
  try {
    await vault.createKey('bench', 'ecdsa-p256');
    const keyPair = await generateKeyPair(folder);
    const login = { method: 'token', token: vault.token };
    const served = await startServed({
      keys: [
        { name: 'file', kind: 'local', file: keyPair.privateKey, password: keyPassword },
        { name: 'vault', kind: 'vault', address: vault.addr, key: 'bench', login },
      ],
      plainHttpHosts: [registry.host],
    });
    const load: PeerBench['load'] = (path, request, inFlight, seconds) => {
      const requestFile = join(served.folder, 'request');
      writeFileSync(requestFile, request);
      const order = { target: served.grpc, path, requestFile, token: served.token, inFlight, seconds };
      return generateLoad({ ...order, warmupSeconds: Math.max(1, seconds / 3) }, served.process);
    };
    try {
      return await measure({ vault, registry, keyPair, served, load });
    } finally {
      await served.stop();
    }
  } finally {
    await Promise.all([vault.stop(), registry.stop()]);
    rmSync(folder, { recursive: true, force: true });
  }
};

export const signMethod = '/countersign.v1.SigningService/Sign';
export const verifyMethod = '/countersign.v1.VerificationService/Verify';

/** A message as a load sends it. */
export const messageBytes = <Schema extends DescMessage>(schema: Schema, init: MessageInitShape<Schema>): Buffer =>
  Buffer.from(toBinary(schema, create(schema, init)));

export const inMs = (milliseconds: number): string => `${milliseconds.toFixed(2)} ms`;

import { credentials } from '@grpc/grpc-js';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { AuditRecord } from '../../src/audit/port.ts';
import { createServiceClient, type ServiceClient } from '../../src/cli/client.ts';
import { pushImage } from '../../src/dev/image.ts';
import { githubClaims, startIssuer } from '../../src/dev/issuer.ts';
import { audience, worldPolicy } from '../../src/dev/world-policy.ts';
import { type GatedRegistry, startGatedRegistry } from './gated-registry.ts';
import { type ServeProcess, startServe } from './serve-process.ts';

export const keyPassword = 'only-in-the-environment';

export type ServedWorld = {
  readonly registry: GatedRegistry;
  readonly process: ServeProcess;
  /** `host/acme/app:v1` */
  readonly image: string;
  readonly configFile: string;
  token(): Promise<string>;
  /** A gRPC client of the process that may sign. */
  client(): ServiceClient;
  audit(): Promise<readonly AuditRecord[]>;
  stop(): Promise<void>;
};

export type ServedWorldOptions = {
  /** The environment of the process. Default: the password itself in KEY_PASSWORD. */
  readonly env?: (folder: string) => Promise<Readonly<Record<string, string>>>;
  /** More of these sections. */
  readonly more?: { readonly registry?: object; readonly telemetry?: object };
};

/** `countersign serve` as a child process, with an encrypted key whose password only its environment knows. */
export const startServedWorld = async (options: ServedWorldOptions = {}): Promise<ServedWorld> => {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-e2e-'));
  const issuer = await startIssuer({ audience });
  const registry = await startGatedRegistry();
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: keyPassword });
  await writeFile(join(folder, 'release.key'), pem);
  await writeFile(join(folder, 'policy.yaml'), worldPolicy(issuer.issuer, registry.host));
  const configFile = join(folder, 'config.yaml');
  const plain = { address: '127.0.0.1:0', transport: 'plaintext' };
  await writeFile(
    configFile,
    stringify(
      {
        listeners: { grpc: plain, rest: plain, admin: plain },
        callers: { oidc: [{ issuer: issuer.issuer, audience, allowPlainText: true }] },
        policy: { files: ['policy.yaml'] },
        keys: [{ name: 'release', kind: 'local', file: 'release.key', password: '${KEY_PASSWORD}' }],
        registry: { plainHttpHosts: [registry.host], ...options.more?.registry },
        audit: { kind: 'file', file: 'audit.jsonl' },
        telemetry: { log: { level: 'info', format: 'json' }, ...options.more?.telemetry },
      },
      { aliasDuplicateObjects: false },
    ),
  );
  await pushImage(registry.host, 'acme/app', 'v1');
  const env = (await options.env?.(folder)) ?? { KEY_PASSWORD: keyPassword };
  const clean = async (): Promise<void> => {
    await registry.close();
    await issuer.close();
    await rm(folder, { recursive: true, force: true });
  };
  const process = await startServe(configFile, env).catch(async (error: unknown) => {
    await clean();
    throw error;
  });
  const clients: ServiceClient[] = [];
  const token = (): Promise<string> => issuer.mint(githubClaims({ ref: 'refs/tags/v1.0.0' }));
  return {
    registry,
    process,
    image: `${registry.host}/acme/app:v1`,
    configFile,
    token,
    client: () => {
      const bearer = token();
      const client = createServiceClient({
        authority: process.grpc,
        credentials: credentials.createInsecure(),
        token: () => bearer,
        timeoutMs: 20_000,
      });
      clients.push(client);
      return client;
    },
    audit: async () =>
      (await readFile(join(folder, 'audit.jsonl'), 'utf8'))
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as AuditRecord),
    stop: async () => {
      process.kill();
      for (const client of clients) client.close();
      await process.ended;
      await clean();
    },
  };
};

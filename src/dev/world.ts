import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Config, configSchema } from '../config/schema.ts';
import { startService } from '../serve.ts';
import { createLogger } from '../telemetry/log.ts';
import { type Claims, githubClaims, startIssuer } from './issuer.ts';
import { type DevRegistry, startRegistry } from './registry.ts';
import { audience, keyName, worldPolicy } from './world-policy.ts';

/** Ports of the world on 127.0.0.1; 0 takes a free one. */
export type WorldPorts = {
  readonly grpc: number;
  readonly rest: number;
  readonly admin: number;
  readonly registry: number;
  readonly issuer: number;
};

export const freePorts: WorldPorts = { grpc: 0, rest: 0, admin: 0, registry: 0, issuer: 0 };

export type WorldOptions = {
  readonly ports?: WorldPorts;
  /** The least severe level of the service's log. Default: silent. */
  readonly logLevel?: Config['telemetry']['log']['level'];
};

/** A service with everything that it needs around it, on loopback, in this process. Nothing outlives `stop`. */
export type World = {
  /** A temporary folder: policy, audit log, and what the demo writes. */
  readonly folder: string;
  /** `https`-less issuer of CI-shaped tokens: whoever can reach it is whoever they say. */
  readonly issuer: string;
  readonly registry: DevRegistry;
  /** The one configured key. */
  readonly key: string;
  /** `host:port` */
  readonly grpc: string;
  readonly rest: string;
  readonly admin: string;
  readonly auditFile: string;
  readonly policyFile: string;
  /** A token of a CI job; `claims` override those of a push of tag v1.0.0 of acme/app. Seconds until it ends: default 300. */
  token(claims?: Claims, expiresIn?: number): Promise<string>;
  stop(): Promise<void>;
};

/** The configuration of the world's service: what a real one would have, with short cuts only where the world is not real. */
const worldConfig = (
  ports: WorldPorts,
  files: { readonly policyFile: string; readonly auditFile: string },
  issuer: string,
  registryHost: string,
  level: string,
): Config => {
  const listener = (port: number) => ({ address: `127.0.0.1:${port}`, transport: 'plaintext' });
  return configSchema.parse({
    listeners: { grpc: listener(ports.grpc), rest: listener(ports.rest), admin: listener(ports.admin) },
    // Tokens live long here, so that a printed one can still be pasted after lunch.
    callers: {
      oidc: [{ issuer, audience, allowPlainText: true, maxAgeSeconds: 86_400, maxLifetimeSeconds: 86_400 }],
    },
    policy: { files: [files.policyFile] },
    keys: [{ name: keyName, kind: 'local', generate: 'ecdsa-p256-sha256' }],
    registry: { plainHttpHosts: [registryHost] },
    audit: { kind: 'file', file: files.auditFile },
    telemetry: { log: { level, format: 'text' }, metrics: true },
  });
};

/** Starts the world. Rejects when a port is taken; what was started before is then stopped again. */
export const startWorld = async (options: WorldOptions = {}): Promise<World> => {
  const ports = options.ports ?? freePorts;
  const ends: (() => Promise<void>)[] = [];
  const stop = async (): Promise<void> => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-'));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const issuer = await startIssuer({ audience, port: ports.issuer });
    ends.push(() => issuer.close());
    const registry = await startRegistry({ port: ports.registry });
    ends.push(() => registry.close());

    const files = { policyFile: join(folder, 'policy.yaml'), auditFile: join(folder, 'audit.jsonl') };
    await writeFile(files.policyFile, worldPolicy(issuer.issuer, registry.host));
    const config = worldConfig(ports, files, issuer.issuer, registry.host, options.logLevel ?? 'silent');
    const service = await startService(config, createLogger(config.telemetry.log));
    ends.push(() => service.stop());

    const { grpc = '', rest = '', admin = '' } = service.addresses;
    return {
      folder,
      issuer: issuer.issuer,
      registry,
      key: keyName,
      grpc,
      rest,
      admin,
      ...files,
      token: (claims = {}, expiresIn = 300) =>
        issuer.mint(githubClaims({ ref: 'refs/tags/v1.0.0', ...claims }), { expiresIn }),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
};

import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { githubClaims, startIssuer } from '../../src/dev/issuer.ts';
import { freePort } from '../peers/process.ts';
import { type Measured, startMeasured } from './process.ts';

/** The service in a process of its own, as `countersign serve` starts it, with one caller who may do everything. */
export type Served = {
  readonly process: Measured;
  readonly grpc: string;
  readonly rest: string;
  readonly token: string;
  readonly folder: string;
  /** Seconds from the start of the process until it answered on its admin port as ready. */
  readonly startSeconds: number;
  stop(): Promise<void>;
};

export const startServed = async (options: {
  readonly keys: readonly { readonly name: string; readonly kind: string; readonly [setting: string]: unknown }[];
  readonly plainHttpHosts: readonly string[];
}): Promise<Served> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  const issuer = await startIssuer({ audience: 'bench' });
  const [grpc, rest, admin] = await Promise.all([freePort(), freePort(), freePort()]);
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const at = (port: number): object => ({ address: `127.0.0.1:${port}`, transport: 'plaintext' });
  const caller = { issuer: issuer.issuer, claims: { repository_id: '456789' } };
  const policy = file(
    'policy.yaml',
    JSON.stringify({
      rules: [
        {
          name: 'bench',
          caller,
          verbs: ['sign', 'attest', 'read-key'],
          keys: options.keys.map((key) => key.name),
          repositories: ['**'],
          subjects: ['**'],
        },
        { name: 'verify', caller, verbs: ['verify'] },
      ],
    }),
  );
  const config = file(
    'config.yaml',
    JSON.stringify({
      listeners: { grpc: at(grpc), rest: at(rest), admin: at(admin) },
      callers: {
        oidc: [{ issuer: issuer.issuer, audience: 'bench', allowPlainText: true, maxAgeSeconds: 3600 }],
      },
      policy: { files: [policy] },
      keys: options.keys,
      registry: { plainHttpHosts: options.plainHttpHosts },
      audit: { kind: 'file', file: join(folder, 'audit.jsonl') },
      telemetry: { metrics: true, log: { level: 'warn' } },
    }),
  );
  const started = performance.now();
  const child = startMeasured([
    '--max-semi-space-size=16',
    '--initial-old-space-size=128',
    '--v8-pool-size=1',
    join(import.meta.dirname, '..', '..', 'src', 'countersign.js'),
    'serve',
    '--config',
    config,
  ]);
  await waitUntilReady(admin, child);
  const startSeconds = (performance.now() - started) / 1000;
  return {
    process: child,
    grpc: `127.0.0.1:${grpc}`,
    rest: `127.0.0.1:${rest}`,
    token: await issuer.mint(githubClaims({ repository_id: '456789' }), { expiresIn: 3000 }),
    folder,
    startSeconds,
    stop: async () => {
      await child.stop();
      await issuer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

const waitUntilReady = async (admin: number, child: Measured): Promise<void> => {
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${admin}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (ready) return;
    if (child.ended()) throw new Error('the service ended before it was ready');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** A local key as the bench's baseline uses one: P-256, PKCS#8, in a file. */
export const writeLocalKey = (folder: string): string => {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const path = join(folder, 'bench.key');
  writeFileSync(path, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  return path;
};

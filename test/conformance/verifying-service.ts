import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { configSchema } from '../../src/config/schema.ts';
import { githubClaims, startIssuer } from '../../src/dev/issuer.ts';
import { startService } from '../../src/serve.ts';
import { createLogger } from '../../src/telemetry/log.ts';

/** A real service in this process and a caller who may verify blobs by any key; it signs nothing. */
export type VerifyingService = {
  readonly url: string;
  token(): Promise<string>;
  stop(): Promise<void>;
};

export const startVerifyingService = async (): Promise<VerifyingService> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-conformance-'));
  const issuer = await startIssuer({ audience: 'countersign.test' });
  const close = async (): Promise<void> => {
    await issuer.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const policyFile = join(folder, 'policy.yaml');
    // No `keys`: only such a rule allows keys that the caller brings.
    const rule = {
      name: 'verify',
      caller: { issuer: issuer.issuer, claims: { repository_id: '456789' } },
      verbs: ['verify'],
      subjects: ['**'],
    };
    writeFileSync(policyFile, JSON.stringify({ rules: [rule] }));
    const plain = { address: '127.0.0.1:0', transport: 'plaintext' };
    const config = configSchema.parse({
      listeners: { grpc: plain, rest: plain, admin: plain },
      callers: { oidc: [{ issuer: issuer.issuer, audience: 'countersign.test', allowPlainText: true }] },
      policy: { files: [policyFile] },
      keys: [{ name: 'unused', kind: 'local', generate: 'ecdsa-p256-sha256' }],
      audit: { kind: 'file', file: join(folder, 'audit.jsonl') },
    });
    const service = await startService(config, createLogger({ level: 'silent', format: 'json' }));
    return {
      url: `http://${service.addresses.rest}`,
      token: () => issuer.mint(githubClaims({ repository_id: '456789' })),
      stop: async () => {
        await service.stop();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
};

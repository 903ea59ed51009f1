import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'undici';
import { configSchema } from '../src/config/schema.ts';
import { githubClaims, type Issuer, startIssuer } from '../src/dev/issuer.ts';
import { type RunningService, startService } from '../src/serve.ts';
import { createLogger, type Logger } from '../src/telemetry/log.ts';

/** One output of Sign or Attest, as REST writes it: bytes are base64. */
export type Output = {
  readonly format: string;
  readonly mediaType: string;
  readonly content: string;
  readonly signature: string;
  /** It was there already. */
  readonly existing: boolean;
  readonly stored?: {
    readonly repository: string;
    readonly digest: string;
    readonly layout: string;
    readonly tag: string;
  };
};

export type Signed = {
  readonly digest: string;
  readonly outputs: readonly Output[];
  readonly key: { readonly version: string; readonly algorithm: string };
  readonly auditId: string;
  readonly decision: { readonly rule: string; readonly policyHash: string };
};

export type VerdictJson = {
  readonly verified: boolean;
  readonly summary: string;
  readonly signatures: readonly { readonly counts: boolean; readonly reason: string; readonly message: string }[];
};

export type Answer<Body> = { readonly status: number; readonly body: Body };

/** A real service in this process, with an issuer and one caller that may do everything. */
export type ServiceWorld = {
  readonly folder: string;
  readonly auditFile: string;
  readonly issuer: Issuer;
  readonly service: RunningService;
  /** A token of the caller who may do everything; `claims` make it somebody else. */
  token(claims?: Readonly<Record<string, unknown>>): Promise<string>;
  /** POSTs JSON with the caller's token. */
  call<Body>(path: string, request: object): Promise<Answer<Body>>;
  /** As `call`, and throws unless it was answered with 200. */
  ok<Body>(path: string, request: object): Promise<Body>;
  publicKey(key: string): Promise<string>;
  stop(): Promise<void>;
};

const policyFor = (issuer: string, keys: readonly string[]): string =>
  JSON.stringify({
    rules: [
      {
        name: 'everything',
        caller: { issuer, claims: { repository_id: '456789' } },
        verbs: ['sign', 'attest', 'read-key'],
        keys,
        repositories: ['**'],
        subjects: ['**'],
        blobsByDigest: true,
        predicateTypes: ['**'],
        formats: ['simple-signing', 'dsse', 'bundle'],
      },
      {
        name: 'verify-anything',
        caller: { issuer, claims: { repository_id: '456789' } },
        verbs: ['verify'],
      },
    ],
  });

/**
 * Starts it. `keys`: entries of the configuration's section of that name; `plainHttpHosts`: the registries of the test;
 * `settings`: more of the configuration.
 */
export const startServiceWorld = async (options: {
  readonly keys: readonly { readonly name: string; readonly kind: string; readonly [setting: string]: unknown }[];
  readonly plainHttpHosts: readonly string[];
  readonly settings?: object;
  /** Default: silence. */
  readonly logger?: Logger;
}): Promise<ServiceWorld> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-test-'));
  const issuer = await startIssuer({ audience: 'countersign.test' });
  const policyFile = join(folder, 'policy.yaml');
  const auditFile = join(folder, 'audit.jsonl');
  const names = options.keys.map((key) => key.name);
  writeFileSync(policyFile, policyFor(issuer.issuer, names));
  const plain = { address: '127.0.0.1:0', transport: 'plaintext' };
  const draft = {
    listeners: { grpc: plain, rest: plain, admin: plain },
    callers: { oidc: [{ issuer: issuer.issuer, audience: 'countersign.test', allowPlainText: true }] },
    policy: { files: [policyFile] },
    keys: options.keys,
    registry: { plainHttpHosts: options.plainHttpHosts },
    audit: { kind: 'file', file: auditFile },
    ...options.settings,
  };
  const logger = options.logger ?? createLogger({ level: 'silent', format: 'json' });
  const start = async (): Promise<RunningService> => startService(configSchema.parse(draft), logger);
  const service = await start().catch(async (error) => {
    await issuer.close();
    throw error;
  });
  const client = new Client(`http://${service.addresses.rest}`, { pipelining: 1 });
  const token = (claims = {}): Promise<string> => issuer.mint(githubClaims({ repository_id: '456789', ...claims }));

  const call = async <Body>(path: string, request: object): Promise<Answer<Body>> => {
    const response = await client.request({
      method: 'POST',
      path,
      headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
    return { status: response.statusCode, body: (await response.body.json()) as Body };
  };
  return {
    folder,
    auditFile,
    issuer,
    service,
    token,
    call,
    ok: async <Body>(path: string, request: object) => {
      const { status, body } = await call<Body>(path, request);
      if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
    publicKey: async (key) => {
      const response = await client.request({
        method: 'GET',
        path: `/v1/keys/${key}`,
        headers: { authorization: `Bearer ${await token()}` },
      });
      const body = (await response.body.json()) as { readonly key?: { readonly signing?: { readonly pem: string } } };
      if (body.key?.signing === undefined) throw new Error(`no public key of ${key}: ${JSON.stringify(body)}`);
      return body.key.signing.pem;
    },
    stop: async () => {
      await client.close();
      await service.stop();
      await issuer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

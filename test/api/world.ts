import { generateKeyPairSync } from 'node:crypto';
import type { Credentials } from '../../src/callers/port.ts';
import { type GrpcEdge, startGrpc } from '../../src/api/grpc.ts';
import { createEdge, type Edge } from '../../src/api/handle.ts';
import { type Limits, limitsOf } from '../../src/api/limits.ts';
import { type RestEdge, startRest } from '../../src/api/rest.ts';
import type { ListenerSecurity } from '../../src/api/security.ts';
import type { Service } from '../../src/api/service.ts';
import { warmValidation } from '../../src/api/warm.ts';
import type { KeyDescription } from '../../src/keys/port.ts';
import { publicKeyOf } from '../../src/keys/public-key.ts';
import type { Caller } from '../../src/model/caller.ts';
import type { Decision } from '../../src/model/decision.ts';
import { sha256 } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { SignResult } from '../../src/model/result.ts';
import { type KeyVersion, signedBy } from '../../src/model/signature.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { signBatch } from '../../src/signing/sign-batch.ts';

export const goodToken = 'good.token.value';

export const caller: Caller = {
  kind: 'oidc',
  issuer: 'https://issuer.example',
  subject: 'repo:acme/app',
  claims: Object.assign(Object.create(null), { sub: 'repo:acme/app' }),
  expiresAt: 2_000_000_000,
};

const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const keyVersion: KeyVersion = { key: 'release', version: '3', ...publicKeyOf(publicKey) };
export const publicPem = publicKey.export({ format: 'pem', type: 'spki' }).toString();

export const decision: Decision = {
  allowed: true,
  rule: 'release-signing',
  policyHash: sha256(Buffer.from('policy')),
  claims: { sub: 'repo:acme/app' },
  nearest: undefined,
  reasons: [
    { rule: 'release-signing', effect: 'allow', misses: [] },
    { rule: 'nightly', effect: 'allow', misses: [{ condition: 'keys', wanted: 'nightly', had: 'release' }] },
  ],
};

export const digest = sha256(Buffer.from('image'));

export const signResult = (predicateType?: string): SignResult => ({
  digest,
  name: 'registry.example/acme/app',
  outputs: [
    {
      sealed: {
        format: 'bundle',
        mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
        content: Buffer.from('{"bundle":true}'),
        signature: Buffer.from([0x30, 0x06]),
        attachment: { by: 'referrer', artifactType: 'application/x', annotations: {} },
      },
      stored: { repository: 'registry.example/acme/app', digest, by: 'fallback-tag', tag: 'sha256-00' },
      existing: false,
    },
  ],
  key: keyVersion,
  decision,
  auditId: '0197-audit',
  predicateType,
  notices: [],
  nested: [],
});

export const verdict: Verdict = {
  verified: true,
  summary: 'One signature counts.',
  digest,
  signatures: [
    {
      counts: true,
      reason: 'OK',
      message: 'Signed by release.',
      format: 'simple-signing',
      mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      storedAt: { repository: 'registry.example/acme/app', digest, by: 'tag', tag: 'sha256-00.sig' },
      key: 'release',
      keyHint: keyVersion.hint,
      predicateType: undefined,
      annotations: {
        env: 'prod',
        [signedBy.issuer]: caller.issuer,
        [signedBy.subject]: caller.subject,
        [signedBy.rule]: 'release-signing',
        [signedBy.policy]: decision.policyHash,
        [signedBy.time]: '2026-11-27T00:00:00.000Z',
        [signedBy.audit]: '0197-audit',
      },
      statement: undefined,
      steps: [{ name: 'signature', passed: true, detail: 'by release' }],
    },
  ],
  notices: [],
};

const keyDescription: KeyDescription = {
  name: 'release',
  backend: 'vault',
  protectionLevel: 'software',
  evidence: {},
  origin: 'generated',
  checkedAt: '2026-01-02T00:00:00Z',
  signing: keyVersion,
  versions: [{ ...keyVersion, state: 'enabled', createdAt: '2026-01-01T00:00:00Z' }],
  opaque: [],
};

const authenticate = async ({ bearer }: Credentials): Promise<Caller> => {
  if (bearer === goodToken) return caller;
  const message = bearer === undefined ? 'Send a bearer token.' : 'The token does not hold.';
  throw new CountersignError('unauthenticated', bearer === undefined ? 'NO_TOKEN' : 'BAD_TOKEN', message);
};

/** A service that answers the same to all; the commands that reached it are kept. */
const fakeService = (overrides: Partial<Service> = {}): Service & { readonly commands: unknown[] } => {
  const commands: unknown[] = [];
  const keep = <T>(command: unknown, answer: T): T => {
    commands.push(command);
    return answer;
  };
  const service: Omit<Service, 'signBatch'> = {
    authenticate,
    sign: async (command) => keep(command, signResult()),
    attest: async (command) => keep(command, signResult(command.predicateType)),
    verify: async (command) => keep(command, verdict),
    explain: (command) => keep(command, decision),
    listKeys: async () => [
      { name: 'release', description: keyDescription, problem: '' },
      { name: 'sealed', description: undefined, problem: 'Vault is sealed.' },
    ],
    getKey: async (name) => keep(name, keyDescription),
    ...overrides,
  };
  return {
    commands,
    // The real one, over these functions.
    signBatch: (command, by, context, terms) =>
      signBatch(
        command,
        async (work, part) =>
          work.verb === 'sign' ? service.sign(work.command, by, part) : service.attest(work.command, by, part),
        terms,
        context,
      ),
    ...service,
  };
};

export type LogLine = { readonly level: string; readonly fields: Record<string, unknown>; readonly message: string };

export type World = {
  readonly grpc: GrpcEdge;
  readonly rest: RestEdge;
  readonly service: Service & { readonly commands: unknown[] };
  readonly edge: Edge;
  readonly logs: LogLine[];
  /** Batches begin nothing more. */
  stopBatches(): void;
  close(): Promise<void>;
};

/** Both edges on free ports over one fake service. */
export const startWorld = async (
  overrides: Partial<Service> = {},
  limits: Partial<Limits> = {},
  security: ListenerSecurity = { kind: 'plaintext' },
): Promise<World> => {
  warmValidation();
  const all = limitsOf(limits);
  const logs: LogLine[] = [];
  const write = (level: string) => (fields: object, message: string) => {
    logs.push({ level, fields: { ...fields }, message });
  };
  const service = fakeService(overrides);
  const logger = { info: write('info'), warn: write('warn'), error: write('error') };
  const stopping = new AbortController();
  const edge = createEdge(service, logger, all, stopping.signal);
  const address = { host: '127.0.0.1', port: 0 };
  const grpc = await startGrpc({ edge, address, security, limits: all });
  const rest = await startRest({ edge, address, security, limits: all });
  return {
    grpc,
    rest,
    service,
    edge,
    logs,
    stopBatches: () => stopping.abort(),
    close: async () => {
      await Promise.all([grpc.close(0), rest.close(0)]);
    },
  };
};

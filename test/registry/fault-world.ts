// The Sign use case with a real key and an audit log that can be read, against a registry with faults, a host that is
// configured beside it, and one that nobody has named.
import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { AuditRecord } from '../../src/audit/port.ts';
import { pushImage } from '../../src/dev/image.ts';
import type { DevRegistryOptions } from '../../src/dev/registry.ts';
import { formats } from '../../src/formats/formats.ts';
import { keysSettings } from '../../src/keys/configured.ts';
import { openKeyring } from '../../src/keys/keyring.ts';
import type { SignCommand } from '../../src/model/command.ts';
import { type Context, openContext } from '../../src/model/context.ts';
import type { Digest } from '../../src/model/digest.ts';
import { CountersignError } from '../../src/model/error.ts';
import type { SignResult } from '../../src/model/result.ts';
import type { Verdict } from '../../src/model/verdict.ts';
import { createHttpClient } from '../../src/net/http.ts';
import type { Credential } from '../../src/registry/credentials/source.ts';
import type { Registry } from '../../src/registry/port.ts';
import { createRegistry } from '../../src/registry/registry.ts';
import type { SigningPorts } from '../../src/signing/ports.ts';
import { createRepeats } from '../../src/signing/repeats.ts';
import { sign } from '../../src/signing/sign.ts';
import { type BatchOutcome, type BatchWork, signBatch } from '../../src/signing/sign-batch.ts';
import { verify } from '../../src/verification/verify-command.ts';
import { selfSigned } from '../certificates.ts';
import { caller } from '../signing/world.ts';
import { type FaultRegistry, startFaultRegistry } from './fault-registry.ts';

export const login: Credential & { kind: 'basic' } = {
  kind: 'basic',
  username: 'robot',
  password: 'password-of-the-fault-table',
};
/** What no other host, error or audit record may show. */
export const secrets = [
  login.password,
  Buffer.from(`${login.username}:${login.password}`).toString('base64'),
  'token-of-the-fault-table',
];

export type Outcome = {
  readonly result: SignResult | undefined;
  readonly error: CountersignError | undefined;
  readonly ms: number;
};

export type Judged = {
  readonly verdict: Verdict | undefined;
  readonly error: CountersignError | undefined;
  readonly ms: number;
};

export type OtherHost = {
  /** `http://address:port` */
  readonly origin: string;
  readonly authorizations: (string | undefined)[];
  connections(): number;
};

export type FaultWorld = {
  readonly registry: FaultRegistry;
  /** As the service asks it: `address:port`, of its TLS side where there is one. */
  readonly host: string;
  /** What tag `v1` of `acme/app` leads to; its first nested manifest. */
  readonly digest: Digest;
  readonly nested: Digest;
  /** Another host with the same content, which the configuration names. */
  readonly other: OtherHost;
  /** A host that it does not name. */
  readonly stranger: OtherHost;
  readonly records: readonly AuditRecord[];
  readonly keyUses: () => number;
  /** `replica`: which of the two that have nothing in common. Default: the first. */
  sign(command: Partial<SignCommand>, deadlineMs: number, replica?: 0 | 1): Promise<Outcome>;
  /** Verifies the image with key `release`, at a replica that does nothing else. */
  verify(deadlineMs: number): Promise<Judged>;
  /** Signs in one batch at the first replica; what came of each, in their order. */
  signBatch(commands: readonly Partial<SignCommand>[], deadlineMs: number): Promise<readonly BatchOutcome[]>;
  /** The first replica, and the one that verifies, start anew. */
  restart(): void;
};

export type FaultWorldOptions = {
  readonly registry?: DevRegistryOptions;
  readonly tls?: boolean;
  readonly settleMs?: number;
  /** Another registry that the service may use, in plain text. */
  readonly besides?: string;
};

/** Every host that this process has connected to so far, without its port. */
export const connectedHosts = new Set<string>();
channel('undici:client:beforeConnect').subscribe((message) => {
  connectedHosts.add((message as { connectParams: { hostname: string } }).connectParams.hostname);
});

const certificate = selfSigned();
const keyring = openKeyring(keysSettings.parse([{ name: 'release', kind: 'local', generate: 'ecdsa-p256-sha256' }]));

/** An image for two platforms at tag `v1`, and a caller who may do everything. */
export const startFaultWorld = async (t: TestContext, options: FaultWorldOptions = {}): Promise<FaultWorld> => {
  const registry = await startFaultRegistry(options.registry, options.tls === true ? certificate : undefined);
  const host = options.tls === true ? registry.tlsHost : registry.host;
  const other = await startOther('127.0.0.1', registry);
  const stranger = await startOther('127.0.0.2', registry);
  const { digest, platforms } = await pushImage(registry.host, 'acme/app', 'v1');
  const plainHttpHosts = [
    new URL(other.origin).host,
    ...(options.tls === true ? [] : [host]),
    ...(options.besides === undefined ? [] : [options.besides]),
  ];
  const open = () =>
    createRegistry({
      http: createHttpClient({
        plainHttpHosts,
        named: (asked) => asked === host,
        headersTimeoutMs: 20_000,
        ca: [certificate.cert],
      }),
      credentials: async (asked) => (asked === host ? login : undefined),
      plainHttpHosts,
      tries: 3,
      settleMs: options.settleMs ?? 20,
    });
  const clients: [Registry, Registry] = [open(), open()];
  let reader = open();
  const records: AuditRecord[] = [];
  let keyUses = 0;
  const ports = (replica: 0 | 1): SigningPorts => ({
    decide: () => ({
      allowed: true,
      rule: 'all',
      policyHash: 'sha256:00',
      claims: {},
      nearest: undefined,
      reasons: [],
    }),
    keys: {
      describe: keyring.describe,
      hold: async (...asked) => {
        const held = await keyring.hold(...asked);
        return {
          ...held,
          sign: (...signing) => {
            keyUses++;
            return held.sign(...signing);
          },
          signMany: (toSigns, ...signing) => {
            keyUses += toSigns.length;
            return held.signMany(toSigns, ...signing);
          },
        };
      },
    },
    formats,
    registry: clients[replica],
    audit: { write: async (record) => void records.push(record), healthy: () => true, close: async () => undefined },
    now: () => new Date(),
    repeats: createRepeats(),
    record: 'none',
  });
  t.after(async () => {
    await Promise.all([...clients, reader, registry, other, stranger].map((each) => each.close()));
  });
  let requests = 0;
  const asked = (command: Partial<SignCommand>): SignCommand => ({
    subject: { kind: 'image', reference: `${host}/acme/app:v1` },
    key: 'release',
    formats: ['simple-signing', 'bundle'],
    annotations: {},
    storage: { kind: 'attach', repository: undefined },
    ifAbsent: true,
    recursive: undefined,
    ...command,
  });
  const timed = async <T>(deadlineMs: number, work: (context: Context) => Promise<T>) => {
    const { context, dispose } = openContext(`request-${++requests}`, deadlineMs);
    const started = performance.now();
    try {
      return { result: await work(context), error: undefined, ms: performance.now() - started };
    } catch (error) {
      if (!(error instanceof CountersignError)) throw error;
      return { result: undefined, error, ms: performance.now() - started };
    } finally {
      dispose();
    }
  };
  return {
    registry,
    host,
    digest,
    nested: platforms[0]?.digest ?? digest,
    other,
    stranger,
    records,
    keyUses: () => keyUses,
    sign: (command, deadlineMs, replica = 0) =>
      timed(deadlineMs, (context) => sign(asked(command), caller, context, ports(replica))),
    verify: async (deadlineMs) => {
      const command = {
        subject: { kind: 'image', reference: `${host}/acme/app:v1` },
        keys: [{ kind: 'configured', name: 'release' }],
        expect: { kind: 'signature' },
        annotations: {},
        provided: [],
        repository: undefined,
      } as const;
      const { result, ...more } = await timed(deadlineMs, (context) =>
        verify(
          command,
          {
            registry: reader,
            keyVersions: async (name, within) => (await keyring.describe(name, within)).versions,
            parsePublicKey: () => assert.fail('no PEM here'),
          },
          context,
        ),
      );
      return { verdict: result, ...more };
    },
    signBatch: async (commands, deadlineMs) => {
      const { context, dispose } = openContext(`batch-${++requests}`, deadlineMs);
      const items = commands.map((command, index) => ({
        reference: String(index),
        work: { verb: 'sign', command: asked(command) } as const,
      }));
      const terms = {
        places: { takeFree: () => true, release: () => undefined },
        maxItemMs: deadlineMs,
        stopping: new AbortController().signal,
      };
      const work = ({ command }: BatchWork, within: Context) => sign(command as SignCommand, caller, within, ports(0));
      const outcomes: BatchOutcome[] = [];
      for await (const outcome of signBatch({ items }, work, terms, context)) outcomes.push(outcome);
      dispose();
      return outcomes.sort((one, next) => one.index - next.index);
    },
    restart: () => {
      void clients[0].close();
      clients[0] = open();
      void reader.close();
      reader = open();
    },
  };
};

const startOther = async (
  address: string,
  registry: FaultRegistry,
): Promise<OtherHost & { close(): Promise<void> }> => {
  const authorizations: (string | undefined)[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    authorizations.push(request.headers.authorization);
    if (request.url === '/wants-credentials') {
      const realm = `http://${request.headers.host}/token`;
      response.writeHead(401, { 'www-authenticate': `Bearer realm="${realm}",service="thief"` }).end();
    } else registry.honest(request, response);
  });
  server.on('connection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  return {
    origin: `http://${address}:${(server.address() as AddressInfo).port}`,
    authorizations,
    connections: () => connections,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

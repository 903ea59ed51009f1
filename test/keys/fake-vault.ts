// A scripted Vault: transit and logins as the real one answers (test/peers/vault-keys.test.ts runs the same contract
// against Vault 1.21), and every fault on demand.
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { signDigest } from './sign-digest.ts';

export type Call = {
  readonly method: string;
  readonly path: string;
  readonly token: string | undefined;
  readonly namespace: string | undefined;
  /** SHA-256 fingerprint of the client's certificate, when one of the CA was shown. */
  readonly client: string | undefined;
  readonly body: Record<string, unknown>;
};
type Answer = { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };
/** Answers in place of the real thing; `undefined` lets the call through. */
export type Fault = (call: Call, response: ServerResponse) => Answer | 'handled' | undefined;

export type FakeVault = {
  readonly address: string;
  /** Every call so far, in order. */
  readonly calls: readonly Call[];
  /** Calls whose `METHOD path` matches. */
  count(pattern: RegExp): number;
  /** Resolves when so many calls match; at once when they already do. */
  seen(pattern: RegExp, count?: number): Promise<void>;
  createKey(name: string, namedCurve?: 'P-256' | 'P-384' | 'P-521'): KeyObject;
  rotate(name: string): void;
  setMinimum(name: string, version: number): void;
  /** Fields that reading the key says besides; a `keys` among them replaces the versions. */
  describe(name: string, fields: object): void;
  /** Fails calls whose `METHOD path` matches, so many times. */
  fail(pattern: RegExp, fault: Fault | Answer, times?: number): void;
  heal(): void;
  /** A valid token, as an operator would write it to a file. */
  issueToken(): string;
  /** All tokens handed out so far are refused from now on. */
  revokeTokens(): void;
  /** What logins answer from now on. */
  lease(seconds: number, renewable: boolean): void;
  close(): Promise<void>;
};

type StoredKey = { readonly type: string; readonly versions: KeyObject[]; minimum: number; fields: object };

const hashes = { 'sha2-256': 'sha256', 'sha2-384': 'sha384', 'sha2-512': 'sha512' } as const;
const errors = (status: number, ...said: string[]): Answer => ({ status, body: { errors: said } });
const denied = errors(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n');

const readBody = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
};

/** The certificate that the client showed, when it is one of the CA. */
const clientOf = ({ socket }: IncomingMessage): string | undefined => {
  const { authorized, getPeerCertificate } = socket as Partial<TLSSocket>;
  return authorized === true ? getPeerCertificate?.call(socket).fingerprint256 : undefined;
};

const header = (value: string | string[] | undefined): string | undefined =>
  typeof value === 'string' ? value : undefined;

type Tls = { readonly cert: string; readonly key: string; readonly ca?: string };

/** With `tls` (PEM) it speaks https, and with its `ca` asks for client certificates. */
export const startFakeVault = async (tls?: Tls): Promise<FakeVault> => {
  const keys = new Map<string, StoredKey>();
  const calls: Call[] = [];
  const events = new EventEmitter();
  let tokens = new Set(['root']);
  let issued = 0;
  let granted = { seconds: 3600, renewable: true };
  let faults: { readonly pattern: RegExp; readonly fault: Fault | Answer; times: number }[] = [];

  const issueToken = (): string => {
    issued += 1;
    const token = `hvs.fake-${issued}`;
    tokens.add(token);
    return token;
  };
  const auth = (token: string): Answer => ({
    status: 200,
    body: { auth: { client_token: token, lease_duration: granted.seconds, renewable: granted.renewable } },
  });

  const readKey = (name: string): Answer => {
    const key = keys.get(name);
    if (key === undefined) return { status: 404, body: { errors: [] } };
    const versions = key.versions.map((version, index) => [
      String(index + 1),
      {
        creation_time: '2026-11-20T10:00:00.123456789Z',
        public_key: createPublicKey(version).export({ type: 'spki', format: 'pem' }),
      },
    ]);
    const data = { type: key.type, latest_version: key.versions.length, min_encryption_version: key.minimum };
    return { status: 200, body: { data: { ...data, keys: Object.fromEntries(versions), ...key.fields } } };
  };

  const tooLow = 'requested version for signing is less than the minimum encryption key version';

  const signWith = (name: string, hash: string, body: Record<string, unknown>): Answer => {
    const key = keys.get(name);
    if (key === undefined) return errors(400, 'signing key not found');
    const version = Number(body['key_version']);
    const privateKey = key.versions[version - 1];
    const batch = body['batch_input'];
    if (body['prehashed'] !== true || !Object.hasOwn(hashes, hash)) return errors(400, 'the fake signs prehashed only');
    if (version < key.minimum || privateKey === undefined) {
      if (Array.isArray(batch))
        return { status: 200, body: { data: { batch_results: batch.map(() => ({ error: tooLow })) } } };
      return errors(500, `1 error occurred:\n\t* ${tooLow}\n\n`);
    }
    const made = (input: unknown): object => {
      const signature = signDigest(privateKey, Buffer.from(String(input), 'base64')).toString('base64');
      return { signature: `vault:v${version}:${signature}`, key_version: version };
    };
    if (!Array.isArray(batch)) return { status: 200, body: { data: made(body['input']) } };
    return { status: 200, body: { data: { batch_results: batch.map(({ input }) => made(input)) } } };
  };

  const serve = (call: Call): Answer => {
    if (call.path === 'sys/seal-status') return { status: 200, body: { type: 'awskms', sealed: false } };
    if (call.path.startsWith('auth/') && call.path.endsWith('/login')) {
      const unknown = tls?.ca !== undefined && call.client === undefined;
      return unknown ? errors(400, 'invalid certificate or no client certificate supplied') : auth(issueToken());
    }
    if (call.token === undefined || !tokens.has(call.token)) return denied;
    if (call.path === 'auth/token/lookup-self') return { status: 200, body: { data: { ttl: 0, renewable: false } } };
    if (call.path === 'auth/token/renew-self') return auth(call.token);
    const read = /^transit\/keys\/([\w.-]+)$/.exec(call.path);
    if (read !== null && call.method === 'GET') return readKey(read[1] ?? '');
    const signing = /^transit\/sign\/([\w.-]+)\/(sha2-\d+)$/.exec(call.path);
    if (signing !== null && call.method === 'POST') return signWith(signing[1] ?? '', signing[2] ?? '', call.body);
    return errors(404, `no handler for route "${call.path}". route entry not found.`);
  };

  const faultFor = (call: Call, response: ServerResponse): Answer | 'handled' | undefined => {
    const entry = faults.find(({ pattern, times }) => times > 0 && pattern.test(`${call.method} ${call.path}`));
    if (entry === undefined) return undefined;
    entry.times -= 1;
    return typeof entry.fault === 'function' ? entry.fault(call, response) : entry.fault;
  };

  const handle: RequestListener = async (request, response) => {
    const call: Call = {
      method: request.method ?? '',
      path: (request.url ?? '').replace(/^\/v1\//, ''),
      token: header(request.headers['x-vault-token']),
      namespace: header(request.headers['x-vault-namespace']),
      client: clientOf(request),
      body: await readBody(request),
    };
    calls.push(call);
    events.emit('call');
    const answer = faultFor(call, response) ?? serve(call);
    if (answer === 'handled') return;
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {}));
  };
  const asking = tls?.ca === undefined ? {} : { requestCert: true, rejectUnauthorized: false };
  const server = tls === undefined ? createServer(handle) : createTlsServer({ ...tls, ...asking }, handle);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  const make = (type: string): KeyObject =>
    generateKeyPairSync('ec', { namedCurve: type.replace('ecdsa-p', 'P-') }).privateKey;
  const count = (pattern: RegExp): number => calls.filter((call) => pattern.test(`${call.method} ${call.path}`)).length;

  return {
    address: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    count,
    seen: async (pattern, wanted = 1) => {
      while (count(pattern) < wanted) await once(events, 'call');
    },
    createKey: (name, namedCurve = 'P-256') => {
      const type = namedCurve.replace('P-', 'ecdsa-p');
      const key = make(type);
      keys.set(name, { type, versions: [key], minimum: 0, fields: {} });
      return key;
    },
    rotate: (name) => {
      const key = keys.get(name);
      if (key !== undefined) key.versions.push(make(key.type));
    },
    setMinimum: (name, version) => {
      const key = keys.get(name);
      if (key !== undefined) key.minimum = version;
    },
    describe: (name, fields) => {
      const key = keys.get(name);
      if (key !== undefined) key.fields = fields;
    },
    fail: (pattern, fault, times = Number.POSITIVE_INFINITY) => {
      faults.push({ pattern, fault, times });
    },
    heal: () => {
      faults = [];
    },
    issueToken,
    revokeTokens: () => {
      tokens = new Set();
    },
    lease: (seconds, renewable) => {
      granted = { seconds, renewable };
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

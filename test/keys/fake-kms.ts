// A scripted AWS KMS: the JSON protocol of DescribeKey, GetPublicKey and Sign as far as the documentation tells it
// (test/peers/aws-keys.test.ts runs the same contract against MiniStack), credentials as a pod gets them, and every fault
// on demand. What it claims of errors is key-backends.md section 1.1.
import { createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { signDigest } from './sign-digest.ts';

export type Call = {
  /** `Sign`, `DescribeKey`, ...; `credentials` for the credentials of the pod. */
  readonly operation: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly authorization: string;
  readonly sessionToken: string | undefined;
};
type Answer = { readonly status: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> };
/** Answers in place of the real thing; `undefined` lets the call through. */
export type Fault = (call: Call, response: ServerResponse) => Answer | 'handled' | undefined;

export type FakeKey = {
  readonly arn: string;
  readonly privateKey: KeyObject;
  readonly spec: string;
  /** DescribeKey says these; a test may change them. */
  readonly metadata: Record<string, unknown>;
};

export type FakeKms = {
  readonly endpoint: string;
  /** What AWS_CONTAINER_CREDENTIALS_FULL_URI is set to. */
  readonly credentialsUri: string;
  /** Every call so far, in order. */
  readonly calls: readonly Call[];
  count(operation: string): number;
  /** Resolves when so many calls of the operation came; at once when they already have. */
  seen(operation: string, count: number): Promise<void>;
  createKey(spec?: keyof typeof specs): FakeKey;
  /** A multi-Region key: the primary, and with the same id and material its replica in another region. */
  createMultiRegion(replicaRegion: string): readonly [primary: FakeKey, replica: FakeKey];
  /** Points an alias (`alias/NAME`) at a key. */
  setAlias(alias: string, key: FakeKey): void;
  /** Fails calls of an operation, so many times. */
  fail(operation: string, fault: Fault | Answer, times?: number): void;
  /** Once is enough, twice is fine. */
  close(): Promise<void>;
};

export const region = 'eu-central-1';

const arnOf = (id: string, inRegion = region): string => `arn:aws:kms:${inRegion}:111122223333:key/${id}`;

const ec = (namedCurve: string): KeyObject => generateKeyPairSync('ec', { namedCurve }).privateKey;
const specs = {
  ECC_NIST_P256: { algorithms: ['ECDSA_SHA_256'], make: () => ec('P-256') },
  ECC_NIST_P384: { algorithms: ['ECDSA_SHA_384'], make: () => ec('P-384') },
  ECC_NIST_P521: { algorithms: ['ECDSA_SHA_512'], make: () => ec('P-521') },
  ECC_NIST_EDWARDS25519: {
    algorithms: ['ED25519_SHA_512', 'ED25519_PH_SHA_512'],
    make: () => generateKeyPairSync('ed25519').privateKey,
  },
} as const;

/** An error as KMS gives it: the type in the body, mostly status 400. */
export const awsFault = (type: string, message = '', status = 400): Answer => ({
  status,
  body: { __type: type, message },
});

const readBody = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
};

export const startFakeKms = async (): Promise<FakeKms> => {
  const keys = new Map<string, FakeKey>();
  const aliases = new Map<string, FakeKey>();
  const calls: Call[] = [];
  const events = new EventEmitter();
  let faults: { readonly operation: string; readonly fault: Fault | Answer; times: number }[] = [];
  let issued = 0;

  const find = (id: string): FakeKey | undefined => keys.get(id) ?? keys.get(arnOf(id)) ?? aliases.get(id);
  const add = (arn: string, spec: keyof typeof specs, privateKey: KeyObject, more: object = {}): FakeKey => {
    const metadata = {
      KeyId: arn.split('/')[1],
      Arn: arn,
      KeyState: 'Enabled',
      KeyUsage: 'SIGN_VERIFY',
      KeySpec: spec,
      KeyManager: 'CUSTOMER',
      MultiRegion: false,
      SigningAlgorithms: specs[spec].algorithms,
      Origin: 'AWS_KMS',
      CreationDate: 1_795_738_361.5,
      ...more,
    };
    const key = { arn, spec, privateKey, metadata };
    keys.set(arn, key);
    return key;
  };

  const signWith = (key: FakeKey, body: Call['body']): Answer => {
    const state = key.metadata['KeyState'];
    if (state === 'Disabled') return awsFault('DisabledException', `${key.arn} is disabled.`);
    if (state !== 'Enabled') return awsFault('KMSInvalidStateException', `${key.arn} is pending deletion.`);
    const message = Buffer.from(String(body['Message']), 'base64');
    const raw = key.privateKey.asymmetricKeyType === 'ed25519';
    if (body['MessageType'] !== (raw ? 'RAW' : 'DIGEST')) return awsFault('ValidationException', 'wrong message type');
    if (raw && message.length > 4096) return awsFault('ValidationException', 'Message too long');
    const Signature = (raw ? sign(null, message, key.privateKey) : signDigest(key.privateKey, message)).toString(
      'base64',
    );
    return { status: 200, body: { KeyId: key.arn, Signature, SigningAlgorithm: body['SigningAlgorithm'] } };
  };

  const serve = ({ operation, body }: Call): Answer => {
    if (operation === 'credentials') {
      issued += 1;
      const Expiration = new Date(Date.now() + 3_600_000).toISOString();
      const secrets = { SecretAccessKey: `pod-secret-${issued}`, Token: `pod-token-${issued}` };
      return { status: 200, body: { AccessKeyId: `AKIAPOD${issued}`, ...secrets, Expiration } };
    }
    const key = find(String(body['KeyId']));
    if (key === undefined) return awsFault('NotFoundException', `Key '${body['KeyId']}' does not exist`);
    if (operation === 'DescribeKey') return { status: 200, body: { KeyMetadata: key.metadata } };
    if (operation === 'Sign') return signWith(key, body);
    const spki = createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' });
    const { KeySpec, KeyUsage } = key.metadata;
    return { status: 200, body: { KeyId: key.arn, KeySpec, KeyUsage, PublicKey: spki.toString('base64') } };
  };

  const faultFor = (call: Call, response: ServerResponse): Answer | 'handled' | undefined => {
    const entry = faults.find(({ operation, times }) => times > 0 && operation === call.operation);
    if (entry === undefined) return undefined;
    entry.times -= 1;
    return typeof entry.fault === 'function' ? entry.fault(call, response) : entry.fault;
  };

  const server = createServer(async (request, response) => {
    const token = request.headers['x-amz-security-token'];
    const call: Call = {
      operation:
        request.method === 'GET' ? 'credentials' : (String(request.headers['x-amz-target']).split('.')[1] ?? ''),
      body: await readBody(request),
      authorization: request.headers.authorization ?? '',
      sessionToken: typeof token === 'string' ? token : undefined,
    };
    calls.push(call);
    events.emit('call');
    const answer = faultFor(call, response) ?? serve(call);
    if (answer === 'handled') return;
    response.writeHead(answer.status, { 'content-type': 'application/x-amz-json-1.1', ...answer.headers });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body ?? {}));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const count = (operation: string): number => calls.filter((call) => call.operation === operation).length;

  return {
    endpoint: origin,
    credentialsUri: `${origin}/credentials`,
    calls,
    count,
    seen: async (operation, wanted) => {
      while (count(operation) < wanted) await once(events, 'call');
    },
    createKey: (spec = 'ECC_NIST_P256') => add(arnOf(randomUUID()), spec, specs[spec].make()),
    createMultiRegion: (replicaRegion) => {
      const id = `mrk-${randomUUID().replaceAll('-', '')}`;
      const [primary, replica] = [arnOf(id), arnOf(id, replicaRegion)];
      const privateKey = specs.ECC_NIST_P256.make();
      const member = (arn: string, MultiRegionKeyType: string): FakeKey =>
        add(arn, 'ECC_NIST_P256', privateKey, {
          MultiRegion: true,
          MultiRegionConfiguration: {
            MultiRegionKeyType,
            PrimaryKey: { Arn: primary, Region: region },
            ReplicaKeys: [{ Arn: replica, Region: replicaRegion }],
          },
        });
      return [member(primary, 'PRIMARY'), member(replica, 'REPLICA')];
    },
    setAlias: (alias, key) => void aliases.set(alias, key),
    fail: (operation, fault, times = Number.POSITIVE_INFINITY) => {
      faults = [{ operation, fault, times }, ...faults];
    },
    close: async () => {
      if (!server.listening) return;
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
};

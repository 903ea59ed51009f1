// A Google Cloud KMS of ours: the service of the protos that @google-cloud/kms carries, on @grpc/grpc-js, with real keys, and
// every fault on demand. No emulator that signs can be installed, so each claim names its source:
//   proto    the comments of service.proto and resources.proto, google.cloud.kms.v1
//   fakekms  GoogleCloudPlatform/kms-integrations, fakekms: Google's own fake, whose contract tests also run against the service
//   ours     chosen here; the service may do otherwise, and nothing tested depends on it
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import {
  loadPackageDefinition,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Pair } from '../certificates.ts';
import { type FakeVersion, kmsAnswers, type KmsKey, type Refusal } from './fake-gcp-service.ts';
import { type KmsAlgorithm, makeKey } from './fake-gcp-crypto.ts';

export type Call = {
  /** `AsymmetricSign`, `GetPublicKey`, ... */
  readonly operation: string;
  readonly request: Readonly<Record<string, unknown>>;
  /** Metadata: `authorization`, `x-goog-request-params`, ... */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Ended by the client before it was answered. */
  readonly ended: Promise<void>;
};
/**
 * In place of the answer: a status, never an answer (`hang`), bytes that are no message, or the true answer with fields
 * changed. `undefined` lets the call through.
 */
export type Fault =
  | Refusal
  | 'hang'
  | Buffer
  | ((answer: Record<string, unknown>, call: Call) => Record<string, unknown> | Refusal | undefined);

export type FakeGcp = {
  /** `http://127.0.0.1:PORT`, or https with a certificate. */
  readonly endpoint: string;
  readonly calls: readonly Call[];
  count(operation: string): number;
  /** Resolves when so many calls of the operation came; at once when they already have. */
  seen(operation: string, count: number): Promise<void>;
  /** A key with one enabled version of each algorithm named, numbered from 1. */
  createKey(...algorithms: readonly KmsAlgorithm[]): KmsKey & { addVersion(algorithm?: KmsAlgorithm): FakeVersion };
  /** Fails calls of an operation, so many times; the newest first. */
  fail(operation: string, fault: Fault, times?: number): void;
  /** Gives this in place of every true answer, refusals too. */
  answer(operation: string, given: Record<string, unknown>): void;
  /** Looks at `authorization` of every call; false: UNAUTHENTICATED. */
  authorize(check: (authorization: string | undefined) => boolean): void;
  /** Cuts connections and calls off. Once is enough, twice is fine. */
  close(): Promise<void>;
};

const require = createRequire(import.meta.url);
/** Both packages have their entry in build/src. */
const protosOf = (name: string): string => join(dirname(require.resolve(name)), '../protos');
const { service } = (
  loadPackageDefinition(
    loadSync('google/cloud/kms/v1/service.proto', {
      includeDirs: [protosOf('@google-cloud/kms'), protosOf('google-gax')],
      longs: String,
      enums: String,
      defaults: true,
      oneofs: true,
    }),
  ) as never as Record<
    'google',
    Record<'cloud', Record<'kms', Record<'v1', Record<'KeyManagementService', KmsService>>>>
  >
).google.cloud.kms.v1.KeyManagementService;
type Method = { readonly path: string; responseSerialize(value: object): Buffer };
type KmsService = { readonly service: Readonly<Record<string, Method>> };

const operations = [
  'ListCryptoKeyVersions',
  'GetCryptoKey',
  'GetCryptoKeyVersion',
  'GetPublicKey',
  'AsymmetricSign',
] as const;

/** Only these, and with answers that may be any bytes. */
const definition = Object.fromEntries(
  operations.map((name) => {
    const method = service[name];
    if (method === undefined) throw new Error(`no ${name} in service.proto`);
    const responseSerialize = (value: object): Buffer =>
      Buffer.isBuffer(value) ? value : method.responseSerialize(value);
    return [name, { ...method, responseSerialize }];
  }),
);

export const parent = 'projects/my-project/locations/europe-west3/keyRings/ring';

const isRefusal = (value: unknown): value is Refusal =>
  typeof value === 'object' && value !== null && 'code' in value && typeof value.code === 'number';

export const startFakeGcp = async (certificate?: Pair): Promise<FakeGcp> => {
  const keys = new Map<string, KmsKey>();
  const calls: Call[] = [];
  const events = new EventEmitter();
  let faults: { readonly operation: string; readonly fault: Fault; times: number }[] = [];
  let accepts: (authorization: string | undefined) => boolean = () => true;
  const answers = kmsAnswers(keys);
  const given = new Map<string, Record<string, unknown>>();

  const faultFor = (operation: string): Fault | undefined => {
    const entry = faults.find((each) => each.times > 0 && each.operation === operation);
    if (entry !== undefined) entry.times -= 1;
    return entry?.fault;
  };

  const answer = (
    operation: (typeof operations)[number],
    call: Call,
  ): Record<string, unknown> | Buffer | Refusal | 'hang' => {
    // google.rpc.Code: UNAUTHENTICATED is for a request without valid credentials (proto).
    if (!accepts(call.metadata['authorization'] as string | undefined)) return { code: status.UNAUTHENTICATED };
    const fault = faultFor(operation);
    if (fault !== undefined && typeof fault !== 'function') return fault;
    const truth = given.get(operation) ?? answers[operation](call.request);
    return isRefusal(truth) ? truth : (fault?.(truth, call) ?? truth);
  };

  const handler =
    (operation: (typeof operations)[number]) =>
    (unary: ServerUnaryCall<Record<string, unknown>, object>, done: sendUnaryData<object>): void => {
      const ended = new Promise<void>((resolve) => unary.on('cancelled', () => resolve()));
      const call = { operation, request: unary.request, metadata: unary.metadata.getMap(), ended };
      calls.push(call);
      events.emit('call');
      const said = answer(operation, call);
      if (said === 'hang') return;
      if (isRefusal(said)) done({ metadata: new Metadata(), details: said.details ?? '', code: said.code });
      else done(null, said);
    };

  const server = new Server();
  server.addService(definition as never, Object.fromEntries(operations.map((name) => [name, handler(name)])));
  const credentials =
    certificate === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(null, [
          { cert_chain: Buffer.from(certificate.cert), private_key: Buffer.from(certificate.key) },
        ]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', credentials, (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const count = (operation: string): number => calls.filter((call) => call.operation === operation).length;

  return {
    endpoint: `${certificate === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    calls,
    count,
    seen: async (operation, wanted) => {
      while (count(operation) < wanted) await once(events, 'call');
    },
    createKey: (...algorithms) => {
      const name = `${parent}/cryptoKeys/key-${keys.size + 1}`;
      const versions: FakeVersion[] = [];
      const addVersion = (algorithm: KmsAlgorithm = 'EC_SIGN_P256_SHA256'): FakeVersion => {
        const version: FakeVersion = {
          privateKey: makeKey(algorithm),
          algorithm,
          fields: {
            // Numbers count up from 1 (fakekms).
            name: `${name}/cryptoKeyVersions/${versions.length + 1}`,
            state: 'ENABLED',
            protectionLevel: 'SOFTWARE',
            algorithm,
            createTime: { seconds: '1795738361', nanos: 500_000_000 },
          },
        };
        versions.push(version);
        return version;
      };
      for (const algorithm of algorithms.length === 0 ? (['EC_SIGN_P256_SHA256'] as const) : algorithms)
        addVersion(algorithm);
      const key = { name, versions, addVersion };
      keys.set(name, key);
      return key;
    },
    fail: (operation, fault, times = Number.POSITIVE_INFINITY) => {
      faults = [{ operation, fault, times }, ...faults];
    },
    answer: (operation, value) => void given.set(operation, value),
    authorize: (check) => {
      accepts = check;
    },
    close: async () => server.forceShutdown(),
  };
};

// The same request over gRPC and over REST, and what came of it in one vocabulary.
import {
  type DescMethodUnary,
  fromBinary,
  fromJson,
  type JsonObject,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { Client, credentials, status as grpcStatus } from '@grpc/grpc-js';
import assert from 'node:assert/strict';
import { errorTable } from '../../src/api/errors.ts';
import { SigningService } from '../../src/gen/countersign/v1/signing_pb.ts';
import { VerificationService } from '../../src/gen/countersign/v1/verification_pb.ts';
import type { ErrorCode } from '../../src/model/error.ts';
import { callRaw, detailsOf, metadataWith, pathOf } from '../api/clients.ts';
import type { ServiceWorld, Signed } from '../service-world.ts';

export type Outcome = {
  readonly edge: 'gRPC' | 'REST';
  /** The gRPC status code or the HTTP status. */
  readonly status: number;
  readonly requestId: string;
  /** How long the answer took. */
  readonly ms: number;
  /** Undefined for an error. */
  readonly signed: Signed | undefined;
  /** Empty, with the two below it, for a success. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What RetryInfo or Retry-After say. */
  readonly retryAfterMs: number | undefined;
  /** JSON text: the answer or, over REST, the problem. */
  readonly body: string;
  /** Everything that was answered, headers and trailers included. */
  readonly raw: string;
};

const methods = {
  '/v1/sign': SigningService.method.sign,
  '/v1/attest': SigningService.method.attest,
  '/v1/verify': VerificationService.method.verify,
} as const satisfies Record<string, DescMethodUnary>;
export type Path = keyof typeof methods;

/** The client's own clock: nothing here may take longer. */
const patienceMs = 20_000;
const none = { reason: '', message: '', metadata: {}, retryAfterMs: undefined } as const;

export type CallOptions = {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type Edges = {
  grpc(path: Path, request: JsonObject, options?: CallOptions): Promise<Outcome>;
  rest(path: Path, request: JsonObject, options?: CallOptions): Promise<Outcome>;
  /** Both at the same time. */
  both(path: Path, request: JsonObject, options?: CallOptions): Promise<readonly Outcome[]>;
  close(): void;
};

/** Calls a service of the test process over both edges. */
export const openEdges = (world: ServiceWorld): Edges => {
  const { addresses } = world.service;
  const client = new Client(addresses.grpc ?? '', credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });

  const grpc: Edges['grpc'] = async (path, request, options = {}) => {
    const method: DescMethodUnary = methods[path];
    const token = options.token ?? (await world.token());
    const started = performance.now();
    const result = await callRaw(
      client,
      pathOf(method),
      toBinary(method.input, fromJson(method.input, request)),
      metadataWith({ authorization: `Bearer ${token}`, ...options.headers }),
      { deadline: Date.now() + patienceMs },
    );
    const ms = performance.now() - started;
    if (result.error === undefined) {
      const body = toJsonString(method.output, fromBinary(method.output, result.message), { alwaysEmitImplicit: true });
      const signed = JSON.parse(body);
      const { requestId } = signed;
      return { edge: 'gRPC', status: grpcStatus.OK, requestId, ms, signed, ...none, body, raw: body };
    }
    const { status, info, request: about, retry } = detailsOf(result.error);
    const delay = retry?.retryDelay;
    return {
      edge: 'gRPC',
      status: result.error.code,
      requestId: about?.requestId ?? '',
      ms,
      signed: undefined,
      reason: info?.reason ?? '',
      message: status.message,
      metadata: { ...info?.metadata },
      retryAfterMs: delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1e6,
      body: '',
      raw: JSON.stringify([result.error.details, result.error.metadata.toJSON(), info, status.message]),
    };
  };

  const rest: Edges['rest'] = async (path, request, options = {}) => {
    const token = options.token ?? (await world.token());
    const started = performance.now();
    const response = await fetch(`http://${addresses.rest}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', ...options.headers },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(patienceMs),
    });
    const text = await response.text();
    const ms = performance.now() - started;
    const raw = `${JSON.stringify([...response.headers])} ${text}`;
    const body = JSON.parse(text);
    const common = { edge: 'REST', status: response.status, ms, requestId: body.requestId, body: text, raw } as const;
    if (response.status === 200) return { ...common, signed: body, ...none };
    assert.equal(response.headers.get('content-type'), 'application/problem+json');
    assert.equal(body.status, response.status);
    const retryAfter = response.headers.get('retry-after');
    return {
      ...common,
      signed: undefined,
      reason: body.reason,
      message: body.detail,
      metadata: body.metadata,
      retryAfterMs: retryAfter === null ? undefined : Number(retryAfter) * 1000,
    };
  };

  return {
    grpc,
    rest,
    both: (path, request, options) => Promise.all([grpc(path, request, options), rest(path, request, options)]),
    close: () => client.close(),
  };
};

/** What an error must look like. */
export type Expected = {
  readonly code: ErrorCode;
  readonly reason: string;
  /** Must the answer name a delay? `min` and `max` in milliseconds; REST rounds up to whole seconds. */
  readonly retry: false | { readonly min: number; readonly max: number };
  readonly message?: RegExp;
};

export const refusal = (code: ErrorCode, reason: string, retry: Expected['retry'] = false): Expected => ({
  code,
  reason,
  retry,
});

/** The answer is this error, in the words of its edge. */
export const assertRefused = (outcome: Outcome, expected: Expected, what: string): void => {
  const { grpc, http } = errorTable[expected.code];
  const label = `${what}, ${outcome.edge}: ${outcome.status} ${outcome.reason} ${outcome.message}`;
  assert.equal(outcome.signed, undefined, label);
  assert.equal(outcome.reason, expected.reason, label);
  assert.equal(outcome.status, outcome.edge === 'gRPC' ? grpc : http, label);
  assert.match(outcome.message, expected.message ?? /./, label);
  if (expected.retry === false) {
    assert.equal(outcome.retryAfterMs, undefined, `${label}: it should not ask for another try`);
    return;
  }
  const { min, max } = expected.retry;
  const least = outcome.edge === 'gRPC' ? min : Math.ceil(min / 1000) * 1000;
  const most = outcome.edge === 'gRPC' ? max : Math.ceil(max / 1000) * 1000;
  const delay = outcome.retryAfterMs ?? -1;
  assert.ok(delay >= least && delay <= most, `${label}: it asks for another try after ${outcome.retryAfterMs} ms`);
};

export const assertSigned = (outcome: Outcome, what: string): Signed => {
  assert.ok(outcome.signed !== undefined, `${what}, ${outcome.edge}: ${outcome.status} ${outcome.raw}`);
  return outcome.signed;
};
